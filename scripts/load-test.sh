#!/usr/bin/env bash
# What palisade costs: wrk against the bare shop and against the guarded one, by turns, and the ratio of the two.
#
#   scripts/load-test.sh [OPTION...]
#
#   --rounds N          pairs of runs; the median of an odd number is one of them (5)
#   --seconds N         how long each run takes (4)
#   --connections N     of wrk (32)
#   --clients N         addresses that the requests come from, each with a user of its own (5000)
#   --redis URL         keep the limits in this Redis; in the memory of the process unless set
#   --webstore FILE     the program to run; target/release/webstore, built first, unless set
#   -h, --help          this text
#
# About a minute with the defaults, after the build. For intervals, peers and Redis's share, see
# `cargo bench -p palisade-bench` (bench/README.md).
#
# Exit status: 0 with a result, 1 when a run failed or anything was refused, 2 when it cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 seconds=4 connections=32 clients=5000 redis='' webstore=''

usage() {
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//p;}' "scripts/load-test.sh"
    exit "$1"
}

stop() {
    echo "load-test: $*" >&2
    exit 2
}

number() {
    [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || stop "$1 cannot be \`$2\`: allowed is a whole number from 1 to 99999"
}

while (($#)); do
    case $1 in
        -h | --help) usage 0 ;;
        --rounds | --seconds | --connections | --clients | --redis | --webstore)
            (($# > 1)) || stop "$1 needs a value"
            case $1 in
                --rounds) number "$@" && rounds=$2 ;;
                --seconds) number "$@" && seconds=$2 ;;
                --connections) number "$@" && connections=$2 ;;
                --clients) number "$@" && clients=$2 ;;
                --redis) redis=$2 ;;
                --webstore) webstore=$2 ;;
            esac
            shift 2
            ;;
        *) echo "load-test: no option $1" >&2 && usage 2 >&2 ;;
    esac
done
command -v wrk >/dev/null || stop "wrk is missing: apt-get install wrk"

if [[ -z $webstore ]]; then
    cargo build --locked --release -p webstore
    webstore=${CARGO_TARGET_DIR:-target}/release/webstore
fi
[[ -x $webstore ]] || stop "$webstore is no program"

work=$(mktemp -d)
started=()
finish() {
    if ((${#started[@]})); then
        kill "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# Every layer is on, and no limit is met: a denial costs less than an answer.
cat >"$work/webstore.toml" <<'TOML'
[client]
trusted_proxies = ["127.0.0.0/8"]

[rate_limit]
ip = "1000000/1m"
user = "1000000/1m"

[suspicion]
password_spraying = "5/5m"
distributed_stuffing = "4/1h"
success_after_failures = "1h"

[suspicion.bans]
TOML

serve() { # name, arguments...; leaves $address
    local name=$1 waited=0
    shift
    env -u REDIS_URL ${redis:+REDIS_URL="$redis"} PALISADE_SECRET="${PALISADE_SECRET:-for this measurement alone}" \
        RUST_LOG=warn "$webstore" --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$@" >"$work/$name" 2>"$work/$name.log" &
    started+=($!)
    until address=$(sed -n 's|^webstore listening on \(http://[^,]*\),.*|\1|p' "$work/$name") && [[ -n $address ]]; do
        if ((waited >= 100)) || ! kill -0 "${started[-1]}" 2>/dev/null; then
            cat "$work/$name.log" >&2
            stop "$webstore $* does not start"
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
}

# One run of wrk: requests a second, p50 and p99 in milliseconds.
measure() { # address, seconds
    local result
    wrk -t 1 -c "$connections" -d "${2}s" -s bench/load.lua "$1" -- "$clients" /US/products 1 >"$work/wrk" 2>&1 || {
        cat "$work/wrk" >&2
        return 1
    }
    result=$(sed -n 's/^result //p' "$work/wrk")
    awk '{
        if ($1 == 0 || $3 + $4 + $5 > 0) {
            printf "load-test: %d answers, %d connections broke, %d answers took longer than 2 s, %d were refused\n", \
                $1, $3, $4, $5 > "/dev/stderr"
            exit 1
        }
        printf "%.0f %.2f %.2f", $1 / $2 * 1e6, $6 / 1e3, $7 / 1e3
    }' <<<"${result:-0 1 0 0 0 0 0 0}"
}

median() { # of the lines, the given field
    sort -n -k "$1" | awk -v field="$1" '{ all[NR] = $field } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'
}

serve bare --bare
bare=$address
serve guarded --config "$work/webstore.toml"
guarded=$address

cat <<TEXT
GET /US/products, $connections connections, $clients addresses and users, $rounds rounds of $seconds s each, by turns.
bare:    the shop alone (webstore --bare)
guarded: every layer on, limits in ${redis:-the memory of the process}; none is met
wrk and the shop$([[ -z $redis ]] || echo ", and Redis,") share the $(nproc) cores of this machine.

TEXT
measure "$bare" 1 >/dev/null
measure "$guarded" 1 >/dev/null

row='%6s  %9s %7s %7s  %9s %7s %7s  %6s\n'
# shellcheck disable=SC2059 # the format of all rows
printf "$row" round "bare /s" "p50 ms" "p99 ms" "guarded" "p50 ms" "p99 ms" ratio
for ((round = 1; round <= rounds; round++)); do
    # Whoever comes second finds another machine: they take turns at that too.
    if ((round % 2)); then
        of_bare=$(measure "$bare" "$seconds")
        of_guarded=$(measure "$guarded" "$seconds")
    else
        of_guarded=$(measure "$guarded" "$seconds")
        of_bare=$(measure "$bare" "$seconds")
    fi
    read -r rate_bare p50_bare p99_bare <<<"$of_bare"
    read -r rate_guarded p50_guarded p99_guarded <<<"$of_guarded"
    ratio=$(awk -v a="$rate_guarded" -v b="$rate_bare" 'BEGIN { printf "%.3f", a / b }')
    echo "$ratio $rate_bare $rate_guarded" >>"$work/results"
    # shellcheck disable=SC2059
    printf "$row" "$round" "$rate_bare" "$p50_bare" "$p99_bare" "$rate_guarded" "$p50_guarded" "$p99_guarded" "$ratio"
done

range=$(sort -n "$work/results" | awk 'NR == 1 { least = $1 } { most = $1 } END { print least " to " most }')
printf '\nguarded / bare: %s (median of %d rounds; %s)\n' "$(median 1 <"$work/results")" "$rounds" "$range"
awk -v bare="$(median 2 <"$work/results")" -v guarded="$(median 3 <"$work/results")" \
    'BEGIN { printf "%.1f microseconds more for each request, at full load\n", 1e6 / guarded - 1e6 / bare }'
