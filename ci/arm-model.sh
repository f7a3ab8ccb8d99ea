#!/usr/bin/env bash
# Models the loops of the ARM kernels on cores that nobody here has: reads, on standard input, what the crate
# benches/instructions prints about its `loops` under qemu, which are instructions of the compiled library as they ran,
# and gives each loop to llvm-mca. Prints "KERNEL/LOOP/CORE MACS-PER-CYCLE" and a table in Markdown; the share is of what
# the same core does of the loop's multiplications and additions alone when none waits for another: the model's best.
# `ci/run.sh arm-model` does it all.
set -euo pipefail
cores=(cortex-a53 cortex-a55 cortex-a76 neoverse-n1 neoverse-n2 neoverse-v1)
# Unless told which, the newest.
llvm_mca=${llvm_mca:-$(compgen -c llvm-mca- | sort -t- -k3 -rn | head -n 1)}
llvm_mc=${llvm_mca/mca/mc}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
declare -A seen

# A file a loop: a head "NAME MULTIPLICATIONS TURNS", then bytes.
awk -v dir="$work" '
    / [0-9]+ [0-9]+$/ { name = $1; macs = $2 }
    /^loop / { file = sprintf("%s/%03d.loop", dir, ++n); print name, macs, $2 >file }
    /^0x/ { print >file }' -

# CORE FILE TURNS: sets `cycles` of a turn in the long run, of which the file has so many. Fails if the core has no such
# instruction; ends all if anything else is wrong.
model() {
    if "$llvm_mca" -mtriple=aarch64 -mcpu="$1" -iterations=$((208 / $3)) "$2" >"$work/report" 2>"$work/errors"; then
        cycles=$(awk '/^Total Cycles:/ { print $3 / 208 }' "$work/report")
    else
        grep -q 'instruction requires' "$work/errors" || { cat "$work/errors" >&2 && exit 1; }
        return 1
    fi
}

# Gives instructions registers in turn, so that none waits: sums, products that are stored, products that are added.
free() {
    awk -F'[ \t,]+' '
        function turn(kind, first, count) { return first + turns[kind]++ % count }
        {
            if ($2 ~ /mull2?$/) to = turn("stored", 13, 8)
            else if ($2 ~ /mlal2?$/) to = turn("added", 21, 8)
            else to = turn("sums", 0, 13)
            for (i = 3; i <= NF; i++) sub(/v[0-9]+/, "v" (i == 3 ? to : i == 4 ? 30 : 31), $i)
            print $2 " " $3 ", " $4 (NF > 4 ? ", " $5 : "")
        }'
}

for loop in "$work"/*.loop; do
    read -r name products turns <"$loop"
    tail -n +2 "$loop" | "$llvm_mc" -disassemble -triple=aarch64 -mattr=+all | grep -v '\.text' >"$work/all"
    # Most kernels take one road, whatever the weights are.
    key=${name%_unproven}:$(cksum <"$work/all")
    if [[ ${seen[$key]-} ]]; then continue; fi
    seen[$key]=yes
    grep -E '^\s[su]+(mull|mlal|adalp|dot|mmla)' "$work/all" >"$work/arithmetic" || true
    for _ in {1..13}; do cat "$work/arithmetic"; done | free >"$work/free"
    # Multiplications of a turn. A single row may fill only half of an instruction that multiplies two.
    macs=$(awk -v products="$products" -v turns="$turns" '
        $1 ~ /mmla$/ { macs += 32 }
        $1 ~ /dot$/ { macs += 16 }
        $1 ~ /(mull|mlal)2?$/ { macs += $2 ~ /8h/ ? 8 : 4 }
        END {
            times = macs * turns / products
            if (times > 1.5) macs /= int(times + 0.5)
            if (times >= 0.9) print macs
        }' "$work/arithmetic")
    [[ $macs ]] || { echo "$name: the loop found does not multiply what it should" >&2 && cat "$work/all" >&2 && exit 1; }
    instructions=$(awk '{ sub(/2$/, "", $1) } !seen[$1]++ { printf "%s%s", n++ ? ", " : "", $1 }' "$work/arithmetic")
    for core in "${cores[@]}"; do
        model "$core" "$work/all" 1 || continue
        now=$cycles
        model "$core" "$work/free" 13
        echo "$name $core $macs $now $cycles $instructions"
    done
done >"$work/results"

awk -v cores="${cores[*]}" -v llvm="$("$llvm_mca" --version | grep -o 'LLVM version.*')" '
    # Of the copies of a loop, one for each way to finish, the slowest counts.
    {
        speed = $3 / $4
        if (!($1 in instructions)) order[++n] = $1
        if (($1, $2) in cell && speed >= cell[$1, $2]) next
        cell[$1, $2] = speed
        share[$1, $2] = 100 * $5 / $4
        instructions[$1] = $6
        for (i = 7; i <= NF; i++) instructions[$1] = instructions[$1] " " $i
    }
    END {
        print "# MACs per cycle, modelled by " llvm
        count = split(cores, core, " ")
        head = "| kernel, rows | instructions |"
        line = "|---|---|"
        for (c = 1; c <= count; c++) {
            head = head " " core[c] " |"
            line = line "--:|"
        }
        table = head "\n" line
        for (i = 1; i <= n; i++) {
            name = order[i]
            split(name, part, "/rows_")
            sub("_", ", ", part[2])
            table = table "\n| `" part[1] "`, " part[2] " | " instructions[name] " |"
            for (c = 1; c <= count; c++) {
                known = (name, core[c]) in cell
                if (known) printf "%s/%s %.2f\n", name, core[c], cell[name, core[c]]
                table = table (known ? sprintf(" %.1f (%.0f %%) |", cell[name, core[c]], share[name, core[c]]) : " - |")
            }
        }
        print "\n" table
        exit !n
    }' "$work/results"
