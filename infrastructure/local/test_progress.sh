#!/usr/bin/env bash
# Reads the output of cargo test, lets the lines through that a person wants to see, and keeps the rest out of sight:
# the whole output is in the log. Output of failed tests comes through.
exec awk '
  /^(   Compiling|    Finished|     Running|   Doc-tests)/ { print; fflush(); next }
  /^(test |running |error|warning)/ { print; fflush(); next }
  /^(skipped: |failures:|test result: |torture: |coverage: |measured: |timed: )/ { print; fflush(); next }
  /^---- .* stdout ----$/ { block = $0; next }
  /panicked at|assertion|left:|right:/ { if (block != "") { print block; block = "" } print; fflush() }
'
