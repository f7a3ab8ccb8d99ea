# Targets zeropoint::zeropoint, the shared library, zeropoint::static, and zeropoint::gemmlowp, the headers that take the place of
# gemmlowp's, over the shared library. All are found from where this file lies.
get_filename_component(_zeropoint "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET zeropoint::zeropoint)
  add_library(zeropoint::zeropoint SHARED IMPORTED)
  set_target_properties(zeropoint::zeropoint PROPERTIES
    IMPORTED_LOCATION "${_zeropoint}/lib/libzeropoint.so.@INTERFACE@"
    IMPORTED_SONAME "libzeropoint.so.@INTERFACE@"
    INTERFACE_INCLUDE_DIRECTORIES "${_zeropoint}/include")
  add_library(zeropoint::static STATIC IMPORTED)
  set_target_properties(zeropoint::static PROPERTIES
    IMPORTED_LOCATION "${_zeropoint}/lib/libzeropoint.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_zeropoint}/include"
    INTERFACE_LINK_LIBRARIES "pthread;dl;m")
  add_library(zeropoint::gemmlowp INTERFACE IMPORTED)
  set_target_properties(zeropoint::gemmlowp PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_zeropoint}/include/zeropoint;${_zeropoint}/include/zeropoint/gemmlowp"
    INTERFACE_LINK_LIBRARIES "zeropoint::zeropoint;pthread")
endif()
unset(_zeropoint)
