# Compares numbers with those on record, what `cargo bench --bench callgrind` prints or lines of NAME NUMBER:
#   awk -f ci/counts.awk benches/callgrind.txt OUTPUT       fails where a count grew by over 3 %
#   awk -f ci/counts.awk -v loss=5 RECORD OUTPUT            fails where a speed fell by over 5 %
#   awk -f ci/counts.awk -v record=1 OUTPUT                 prints a new record
function counted(name, number) { if (!(name in now)) order[++n] = name; now[name] = number }

record && /^# / # what the numbers depend on
/^callgrind::/ { name = $1 " " $2; sub(/:.*/, "", $2); name = substr($1, 12) "/" $2 }
/^  Instructions:/ { split($2, count, "|"); counted(name, count[1]) }
NF == 2 && $2 ~ /^[0-9]+(\.[0-9]+)?$/ { if (NR == FNR && !record) then[$1] = $2; else counted($1, $2) }

END {
    for (i = 1; i <= n; i++) {
        name = order[i]
        if (record) { print name, now[name]; continue }
        if (!(name in then)) { print name ": not on record"; bad++; continue }
        change = 100 * (now[name] / then[name] - 1)
        worse = loss ? change < -loss : change > 3
        if (worse) bad++
        if (worse || change > 3 || change < -3) printf "%s: %s, %s on record, %+.1f %%\n", name, now[name], then[name], change
    }
    for (name in then) if (!(name in now)) { print name ": on record, but not counted"; bad++ }
    if (!record) printf "%d numbers, %d of them bad\n", n, bad
    exit (bad > 0 || n == 0)
}
