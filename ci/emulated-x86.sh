#!/usr/bin/env bash
# Tests of the kernels on x86 CPUs that this machine is not: Linux boots in the emulator Bochs, with their release
# binaries and nothing else. AMX is allowed, or not, by that Linux, as on hardware.
#   ci/emulated-x86.sh install                  fetches what is missing; installs nothing
#   ci/emulated-x86.sh NAME CPU BACKENDS WITH 'TEST ARGUMENTS'...
#                                               runs tests for the backends named; WITH is added to Linux's parameters
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
room=$target/emulator
libraries=$room/new/usr/lib/x86_64-linux-gnu
bochs=$room/new/usr/bin/bochs-bin

# Debian's unstable suite has the emulator, its C library, and a Linux that can be told of a CPU feature.
apt_new() {
    local private=$room/apt
    apt-"$1" -o Dir::Etc::SourceList="$private/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o APT::Sandbox::User=root \
        -o Dir::State="$private" -o Dir::Cache="$private" -o Dir::State::status="$private/status" "${@:2}"
}

unpack() { # DIRECTORY: the packages that were fetched there
    local package
    for package in "$1"/*.deb; do dpkg -x "$package" "$1"; done
}

install() {
    local uri kernel name
    [[ -e $room/complete ]] && return
    rm -rf "$room"
    mkdir -p "$room"/{old,new,stubs} "$room"/apt/{lists/partial,archives/partial}
    touch "$room/apt/status"
    uri=$(cat /etc/apt/sources.list{,.d/*} 2>/dev/null | grep -oEm 1 'https?://[^ ]*/debian/?( |$)' || true)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$room/apt/sources.list"
    apt_new get -q update
    kernel=$(apt_new cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { sub("image", "binary", $2); print $2 }')
    (cd "$room/new" && apt_new get -q download bochs bochsbios vgabios libc6 libgcc-s1 libstdc++6 "$kernel")
    (cd "$room/old" && apt-get -q download busybox-static genisoimage isolinux libltdl7 libmagic1 syslinux-common)
    unpack "$room/old"
    unpack "$room/new"
    cp "$room"/old/usr/lib/x86_64-linux-gnu/{libltdl,libmagic}* "$room/stubs"
    # The windows of Bochs are never opened: an empty function for each of theirs will do.
    nm -D --undefined-only "$bochs" | awk '$1 == "U" && !/@|lt_dl/ { print "void " $2 "(void) { __builtin_trap(); }" }' \
        >"$room/stubs.c"
    gcc -O2 -w -shared -fPIC -fno-builtin -o "$room/stubs/stubs.so" "$room/stubs.c" ci/emulated-x86.c
    for name in $(objdump -p "$bochs" | awk '/NEEDED/ && /readline|gtk|gdk|pango|gobject|glib/ { print $2 }'); do
        ln -sf stubs.so "$room/stubs/$name"
    done
    (run_bochs --help cpu) >"$room/models" 2>&1
    grep -qx sapphire_rapids "$room/models"
    touch "$room/complete"
}

run_bochs() { # ARGUMENTS: in a subshell, whose place it takes
    export BXSHARE=$room/new/usr/share/bochs LTDL_LIBRARY_PATH=$libraries/bochs/plugins
    exec "$libraries/ld-linux-x86-64.so.2" --library-path "$room/stubs:$libraries" "$bochs" "$@"
}

# The first process: runs what /tests lists, says how it went, and leaves.
init() { # BACKENDS
    cat <<END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox grep -m 1 'model name' /proc/cpuinfo
export RUST_BACKTRACE=1 ZEROPOINT_EXPECT=$1 ZEROPOINT_ONLY=$1
while read -r test arguments; do
    echo "-- \$test \$arguments"
    /\$test --test-threads=1 \$arguments || echo "FAILED: \$test \$arguments, status \$?"
done </tests
echo "the machine stops"
/bin/busybox sleep 1000
END
}

boot() { # NAME CPU BACKENDS WITH TEST...
    local name=$1 cpu=$2 backends=$3 with=$4 test tests binary library status=0 bochs_id
    local disc=$room/$name/disc root=$room/$name/root serial=$room/$name/serial
    shift 4
    rm -rf "${room:?}/$name"
    mkdir -p "$disc" "$root"/{bin,proc}
    cp "$room/old/bin/busybox" "$root/bin"
    init "$backends" >"$root/init"
    chmod +x "$root/init"
    printf '%s\n' "$@" >"$root/tests"
    # The very binaries of `cargo test --release`, and the libraries they are linked with.
    mapfile -t tests < <(printf '%s\n' "$@" | cut -d' ' -f1 | sort -u)
    cargo test --release --features rayon --no-run "${tests[@]/#/--test=}" >"$room/$name/build" 2>&1 ||
        { cat "$room/$name/build" && return 1; }
    for test in "${tests[@]}"; do
        binary=$(grep -oE "[^(]*/deps/$test-[0-9a-f]+" "$room/$name/build" | tail -n 1)
        strip -o "$root/$test" "$binary"
        for library in $(ldd "$binary" | grep -oE '/[^ ]+'); do
            mkdir -p "$root/$(dirname "$library")"
            cp -L "$library" "$root/$library"
        done
    done
    (cd "$root" && find . | bin/busybox cpio -o -H newc) >"$disc/initrd" 2>/dev/null
    cp "$room"/new/usr/lib/modules/*/vmlinuz "$room/old/usr/lib/ISOLINUX/isolinux.bin" \
        "$room/old/usr/lib/syslinux/modules/bios/ldlinux.c32" "$disc"
    # Callers add setcpuid=324 for AMX: by that feature Linux withholds tiles until they are first used, and without it
    # has none. Bochs has tiles but not the feature; the permission is asked for and given all the same.
    cat >"$disc/isolinux.cfg" <<END
default linux
label linux
kernel vmlinuz
initrd initrd
append console=ttyS0 quiet loglevel=2 panic=-1 nokaslr mitigations=off hpet=disable tsc=unstable clocksource=acpi_pm $with
END
    LD_LIBRARY_PATH=$room/stubs "$room/old/usr/bin/genisoimage" -quiet -o "$room/$name/disc.iso" -b isolinux.bin \
        -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$disc"
    # Without keys and shadow stacks the parts of the saved state end where Linux thinks that they do.
    cat >"$room/$name/bochsrc" <<END
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=$cpu, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1, cpuid_freq=none, exclude_features="pku pks cet"
memory: guest=512, host=512
romimage: file=$room/new/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$room/new/usr/share/vgabios/vgabios.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="$room/$name/disc.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$serial
log: $room/$name/log
panic: action=fatal
info: action=ignore
clock: sync=none, time0=local
sound: driver=dummy
speaker: enabled=0
END
    touch "$serial"
    run_bochs -q -f "$room/$name/bochsrc" >"$room/$name/out" 2>&1 </dev/null &
    bochs_id=$!
    trap "kill -KILL $bochs_id 2>/dev/null || true" EXIT
    while kill -0 $bochs_id 2>/dev/null && ! grep -qE '^the machine stops|Kernel panic' "$serial"; do sleep 0.5; done
    tr -d '\r' <"$serial"
    # A machine that stops early has not tested; a test result for each line, and none of them a failure.
    grep -q '^the machine stops' "$serial" || { tail -n 3 "$room/$name/out" && status=1; }
    ! grep -qE 'FAILED|panicked' "$serial" || status=1
    (($(grep -c '^test result: ok' "$serial") == $#)) || status=1
    return $status
}

if [[ $1 == install ]]; then
    install
elif ! boot "$@"; then
    # Bochs lacks the feature by which Linux keeps tiles (see above). Once, under load, they were gone after the system had interrupted
    # an instruction of theirs. What is wrong with a kernel is wrong again.
    grep -q 'status 132' "$room/$1/serial" || exit 1
    echo "an illegal instruction: once more"
    boot "$@"
fi
