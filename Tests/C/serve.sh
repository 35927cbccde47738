#!/bin/sh
# The example that serves a saved network: answers do not depend on the number of threads, bad rows are refused.
#
#   Tests/C/serve.sh TRAIN SERVE FOLDER       the built examples, and a folder for files
set -u

train=$1
serve=$2
cd "$3" || exit 1
passed=0
failed=0

check() {
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'serve: failed: %s: "%s", wanted "%s"\n' "$1" "$2" "$3"
  fi
}

"$train" >train.log 2>&1 || exit 1
awk 'BEGIN { for (i = 0; i < 500; i++) print sin(i) ", " cos(i * i) }' >rows.txt
"$serve" spirals.safetensors 1 <rows.txt >one.txt 2>one.log || failed=$((failed + 1))
"$serve" spirals.safetensors 3 <rows.txt >three.txt 2>three.log || failed=$((failed + 1))
check "answers" "$(wc -l <one.txt | tr -d ' ')" 500
check "classes" "$(sort -u one.txt | tr '\n' ' ')" "0 1 2 "
check "the same answers from three threads" "$(cmp one.txt three.txt 2>&1)" ""
check "rows of three threads" "$(grep -c '^500 rows in .* rows/s, by .* + .* + .* rows of 3 threads$' three.log)" 1
check "rows that are made" "$("$serve" spirals.safetensors 2 5000 2>made.log | wc -l | tr -d ' ')" 5
check "how many" "$(grep -c '^5000 rows in' made.log)" 1
check "no rows" "$(printf '\n' | "$serve" spirals.safetensors 2>/dev/null | wc -l | tr -d ' ')" 0
check "too many numbers" "$(echo '1 2 3' | "$serve" spirals.safetensors 2>&1)" \
  "serve: a row of standard input: it has 3 numbers, allowed: inputs = 2"
check "no number" "$(echo '1 two' | "$serve" spirals.safetensors 2>&1 | grep -c 'not a number')" 1
check "no file" "$("$serve" absent.safetensors </dev/null 2>&1 | grep -c 'absent.safetensors')" 1
check "no threads" "$("$serve" spirals.safetensors 0 2>&1 | grep -c 'THREADS')" 1

echo "serve: $passed passed, $failed failed"
[ $failed -eq 0 ]
