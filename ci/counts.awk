# Compares the instructions that `cargo bench --bench callgrind` counted with those on record:
#   awk -f ci/counts.awk benches/callgrind.txt OUTPUT       fails where a count grew by over 3 %
#   awk -f ci/counts.awk -v record=1 OUTPUT                 prints a new record
/^callgrind::/ { name = $1 " " $2; sub(/:.*/, "", $2); name = substr($1, 12) "/" $2 }
/^  Instructions:/ { split($2, count, "|"); now[name] = count[1]; order[++n] = name }
NF == 2 && $2 ~ /^[0-9]+$/ { then[$1] = $2 }

END {
    for (i = 1; i <= n; i++) {
        name = order[i]
        if (record) { print name, now[name]; continue }
        if (!(name in then)) { print name ": not on record"; bad++; continue }
        change = 100 * (now[name] / then[name] - 1)
        if (change > 3) bad++
        if (change > 3 || change < -3) printf "%s: %d instructions, %d on record, %+.1f %%\n", name, now[name], then[name], change
    }
    for (name in then) if (!(name in now)) { print name ": on record, but not counted"; bad++ }
    if (!record) printf "%d counts, %d of them bad\n", n, bad
    exit (bad > 0 || n == 0)
}
