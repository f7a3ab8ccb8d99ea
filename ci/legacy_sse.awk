# Reads `objdump -d --no-show-raw-insn` and fails on a vector instruction in the old encoding inside a function that
# of the library that uses ymm or zmm registers: one of them costs a transition of hundreds of cycles.
/^[0-9a-f]+ <.*>:$/ { report(); name = $2; wide = 0; n = 0; next }
/%[yz]mm/ && name ~ /zeropoint/ { wide = 1; functions[name] }
# What objdump puts before a mnemonic names its encoding, and that is a new one.
/%xmm/ && $2 !~ /^(v|\{evex\}|\{vex\})/ { old[++n] = $0 }

function report(    i) {
    if (!wide) return
    for (i = 1; i <= n; i++) { print name " " old[i]; bad++ }
}

END {
    report()
    for (name in functions) count++
    printf "%d functions with wide registers, %d instructions in the old encoding\n", count, bad
    exit (bad > 0 || count == 0)
}
