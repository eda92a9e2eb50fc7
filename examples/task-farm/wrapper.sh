#!/bin/sh
# Steps that every task of the farm has in common: bring the inputs, set the environment, run the
# command given as arguments. "$@" in quotes keeps each argument as it is.
set -eu
cp "$CASE_DIR"/heat.awk "$CASE_DIR"/rod.txt .
export LC_ALL=C
echo "running $*"
exec "$@"
