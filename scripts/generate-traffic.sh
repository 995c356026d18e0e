#!/usr/bin/env bash
# Visits a running webstore with curl alone: walks its funnel, meets each limit and trips each detector once, and tells
# of each what it expected and what it got.
#
#   scripts/generate-traffic.sh [OPTION...]
#
#   --url URL              the shop (http://127.0.0.1:8000)
#   --admin URL            its admin listener (http://127.0.0.1:9464)
#   --ip-limit N           requests that an address has in a minute (200)
#   --user-limit N         requests that a user has in a minute (60)
#   --checkout-limit N     checkouts that a user has in a minute, if there is such a policy (12)
#   --skip LIST            steps that are left out, with commas: funnel segments sessions user checkout
#                          credential_stuffing endpoint_scanning abuse credential_stuffing_slow password_spraying
#                          distributed_stuffing success_after_failures ban ip
#   --patience SECONDS     how long a metric may take to move (10)
#   -h, --help             this text
#
# Start the webstore with everything on, and all steps run:
#
#   cargo run -p webstore -- --config load/webstore.toml
#
# With a plain `cargo run -p webstore` all requests come from one client, so that the steps that need several, and those
# whose detectors are off by default, are skipped, and said to be. `webstore --demo` has all but a limit for checkouts.
# Run it on a webstore that was started a moment ago, or that nobody has attacked for two hours: an attack that goes on
# is no new incident, and is skipped where all requests come from one client.
#
# Exit status: 0 when all expectations are met, 1 when one is not, 2 when it cannot run.
set -euo pipefail

url=http://127.0.0.1:8000 admin=http://127.0.0.1:9464
ip_limit=200 user_limit=60 checkout_limit=12 skip=, patience=10
# The slow kind goes on when a ban of up to so many seconds is over.
longest_ban=60

usage() {
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//p;}' "$0"
    exit "$1"
}

stop() {
    echo "generate-traffic: $*" >&2
    exit 2
}

number() {
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || stop "$1 cannot be \`$2\`: allowed is a whole number from 1 to 999999"
}

while (($#)); do
    case $1 in
        -h | --help) usage 0 ;;
        --url | --admin | --ip-limit | --user-limit | --checkout-limit | --skip | --patience)
            (($# > 1)) || stop "$1 needs a value"
            case $1 in
                --url) url=${2%/} ;;
                --admin) admin=${2%/} ;;
                --skip) skip=",$2," ;;
                --ip-limit) number "$@" && ip_limit=$2 ;;
                --user-limit) number "$@" && user_limit=$2 ;;
                --checkout-limit) number "$@" && checkout_limit=$2 ;;
                --patience) number "$@" && patience=$2 ;;
            esac
            shift 2
            ;;
        *) echo "generate-traffic: no option $1" >&2 && usage 2 >&2 ;;
    esac
done
steps=(funnel segments sessions user checkout credential_stuffing endpoint_scanning abuse credential_stuffing_slow
    password_spraying distributed_stuffing success_after_failures ban ip)
for step in ${skip//,/ }; do
    [[ " ${steps[*]} " == *" $step "* ]] || stop "--skip cannot be \`$step\`: allowed are ${steps[*]}"
done
command -v curl >/dev/null || stop "curl is missing: apt-get install curl"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

green='' red='' yellow='' bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' bold=$'\e[1m' plain=$'\e[0m'
fi

met=0 unmet=0 skipped=0
# Names that no earlier run has used.
run=$(printf '%04x%04x' "$RANDOM" "$RANDOM")

row() { # verdict, what, expected, got
    local colour=$red
    case $1 in
        ok) colour=$green met=$((met + 1)) ;;
        skip) colour=$yellow skipped=$((skipped + 1)) ;;
        *) unmet=$((unmet + 1)) ;;
    esac
    printf '%s%-5s%s %-44s %-34s %s\n' "$colour" "$1" "$plain" "$2" "$3" "$4"
}

section() { printf '%s%s%s\n' "$bold" "$1" "$plain"; }

is() { # what, expected, got
    if [[ $2 == "$3" ]]; then row ok "$@"; else row WRONG "$@"; fi
}

wants() { # step; says why when it is not to run
    [[ $skip != *",$1,"* ]] && return
    row skip "$1" "" "--skip has it"
    return 1
}

# One request. Leaves $status, $head and $body.
client='' bearer='' cookie='' site=''
ask() { # method, path, body
    local options=(-sg --max-time 30 -X "$1" -D "$work/head" -o "$work/body" -w '%{http_code}')
    [[ -z $client ]] || options+=(-H "x-forwarded-for: $client")
    [[ -z $bearer ]] || options+=(-H "authorization: Bearer $bearer")
    [[ -z $cookie ]] || options+=(-H "cookie: $cookie")
    [[ -z $site ]] || options+=(-H "sec-fetch-site: $site")
    [[ -z ${3:-} ]] || options+=(-H 'content-type: application/json' -d "$3")
    : >"$work/head"
    : >"$work/body"
    status=$(curl "${options[@]}" "$url$2") || status=none
    head=$(tr -d '\r' <"$work/head")
    body=$(tr -d '\0' <"$work/body")
}

# The same GET many times on one connection; prints runs of equal statuses: `200 (200x), 429 (3x)`.
flood() { # times
    local options=(-sgK - --max-time 120 -w '%{http_code}\n') n
    [[ -z $client ]] || options+=(-H "x-forwarded-for: $client")
    [[ -z $bearer ]] || options+=(-H "authorization: Bearer $bearer")
    { for ((n = 0; n < $1; n++)); do
        printf 'url = "%s/US/products"\noutput = "/dev/null"\n' "$url"
    done; } | curl "${options[@]}" | runs
}

runs() {
    uniq -c | awk '{ printf "%s%s (%dx)", (NR > 1 ? ", " : ""), $2, $1 }'
}

login() { ask POST /login "{\"user\":\"$1\",\"password\":\"$2\"}"; }

# The client is this user from now on: of a session, if the webstore has sessions.
enter() { # user
    bearer=
    login "$1" palisade
    bearer=$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' <<<"$body")
    [[ -n $bearer ]] || row WRONG "POST /login as $1" 200 "$status"
}

header() { # name; its value, of the last answer
    awk -v name="$1" '{ at = index($0, ":"); if (tolower(substr($0, 1, at - 1)) == name) print substr($0, at + 2) }' <<<"$head"
}

quota() { # policy, q, w or r; of the last answer
    local from=ratelimit-policy
    [[ $2 != r ]] || from=ratelimit
    header "$from" | tr ',' '\n' | sed -n "s/^ *\"$1\";.*$2=\([0-9]*\).*/\1/p"
}

scrape() { curl -sf --max-time 10 "$admin/metrics"; }

before=
remember() { before=$(scrape) || stop "$admin/metrics does not answer: is --admin right?"; }

value() { # name, labels...; the sum of the series that have all of them
    awk -v name="$1" -v labels="${*:2}" '
        BEGIN { many = split(labels, label, " ") }
        index($0, name "{") == 1 {
            for (n = 1; n <= many; n++) if (index($0, label[n]) == 0) next
            sum += $NF
        }
        END { printf "%d", sum }'
}

# A metric moves some milliseconds after the answer, since nothing is counted on the way of a request.
rises() { # by at least, what, name, labels...
    local at_least=$1 what=$2 from to waited=0
    shift 2
    from=$(value "$@" <<<"$before")
    while to=$(scrape | value "$@"); ((to - from < at_least && waited < patience * 10)); do
        sleep 0.1
        waited=$((waited + 1))
    done
    if ((to - from >= at_least)); then
        row ok "$what" "at least +$at_least" "+$((to - from))"
    else
        row WRONG "$what" "at least +$at_least" "+$((to - from)) after $patience s"
    fi
}

incident() {
    # The only client there is may have been reported for it, and what goes on is no new incident.
    if ! $trusts && (($(value webstore_security_suspicious_activity_total "type=\"$1\"" <<<"$before") > 0)); then
        row skip "incidents of $1" "" "this client may be in one already: start a new webstore"
        return
    fi
    rises 1 "incidents of $1" webstore_security_suspicious_activity_total "type=\"$1\""
}

fresh() { # an address that nobody else has; nothing where the webstore sees one client in any case
    client=
    $trusts || return 0
    fresh=$((fresh + 1))
    client=$(printf '2001:db8:%s:%x::1' "${run:0:4}" "$((0x${run:4} ^ fresh))")
}

is_banned() { [[ $status == 429 && $body == *abnormal-usage-detected* ]]; }

ask GET /US/products
[[ $status != none ]] || stop "$url does not answer. Start it: cargo run -p webstore -- --config load/webstore.toml"
is_banned && stop "this client is banned for another $(header retry-after) s. Try again then."
[[ -n $(quota ip r) ]] || stop "$url says no limit \`ip\` in RateLimit: rate_limit.headers must be draft-11"
remember

# Whether the webstore believes that there are many clients: each new one has the whole limit left but for its request.
fresh=0 trusts=true
fresh && ask GET /US/products && first=$(quota ip r)
fresh && ask GET /US/products && second=$(quota ip r)
[[ $first == $(($(quota ip q) - 1)) && $second == "$first" ]] || trusts=false
if $trusts; then
    echo "The webstore at $url believes X-Forwarded-For of this address: each step is another client."
else
    echo "The webstore at $url sees one client, whatever X-Forwarded-For says: steps that need more are skipped."
    echo "For all of them: cargo run -p webstore -- --config load/webstore.toml"
fi
if ! $trusts && ((second < $(quota ip q) - 10)); then
    window=$(quota ip w)
    echo "This client has $second requests left, of $(quota ip q): waiting $window s until it has them all."
    sleep "$window"
fi
printf '\n%s%-5s %-44s %-34s %s%s\n' "$bold" "" "what" "expected" "got" "$plain"

fresh
if wants funnel; then
    section "The funnel, from the catalogue to the checkout"
    remember
    for walk in US:credit_card:2 DE:paypal:5 jp:bank_transfer:7; do
        IFS=: read -r country method product <<<"$walk"
        enter "walker-$run-$country"
        got=
        for step in "GET /$country/products" "GET /$country/products/$product" \
            "POST /$country/cart {\"product_id\":$product,\"quantity\":1}" \
            "POST /$country/orders {\"order_id\":\"$run-$country\",\"payment_method\":\"$method\"}"; do
            read -r verb path json <<<"$step"
            ask "$verb" "$path" "$json"
            got+="$status "
        done
        is "browse to pay by $method in ${country^^}" "200 200 200 201" "${got% }"
    done
    ask POST /jp/orders "{\"order_id\":\"$run-jp\",\"payment_method\":\"paypal\"}"
    is "the same order again" 201 "$status"
    for stage in browse_catalog view_product add_to_cart checkout_complete; do
        rises 3 "responses of stage $stage" webstore_funnel_stage_total "stage=\"$stage\""
        rises 3 "visitors of stage $stage" webstore_funnel_visitors_total "stage=\"$stage\""
    done
    for method in credit_card paypal bank_transfer; do
        rises 1 "checkouts by $method" webstore_funnel_stage_total "payment_method=\"$method\""
    done
fi

if wants segments; then
    section "Customers by segment"
    remember
    enter "vip-$run"
    got=
    for step in "GET /GB/products" "GET /GB/products/11" "POST /GB/cart {\"product_id\":11,\"quantity\":1}" \
        "POST /GB/orders {\"order_id\":\"$run-vip\",\"payment_method\":\"credit_card\"}" "GET /GB/products/3"; do
        read -r verb path json <<<"$step"
        ask "$verb" "$path" "$json"
        got+="$status "
    done
    is "a customer buys for 649 dollars" "200 200 200 201 200" "${got% }"
    for segment in new returning vip; do
        rises 1 "actions of segment $segment" webstore_customer_segment_total "segment=\"$segment\""
    done
fi

if wants sessions; then
    section "A session, by bearer and by cookie"
    fresh
    enter "visitor-$run"
    mine=/api/v1/users/me/sessions
    if [[ $bearer != pls_* ]]; then
        row skip sessions "" "[sessions] is off by default: load/webstore.toml has it"
    else
        remember
        enter "visitor-$run"
        got=
        for step in "GET $mine" "GET /GB/cart" "POST /profiles/me/logout" "GET $mine"; do
            read -r verb path <<<"$step"
            ask "$verb" "$path"
            got+="$status "
        done
        is "list, look into the cart, sign out, list" "200 200 200 401" "${got% }"
        bearer='' site=same-origin
        login "visitor-$run" palisade
        cookie=$(header set-cookie)
        cookie=${cookie%%;*}
        is "a page of the shop gets a cookie" "session=pls_" "$(grep -o 'session=pls_' <<<"$cookie")"
        got=
        for step in "same-origin GET $mine" "cross-site POST /profiles/me/logout" "same-origin POST /profiles/me/logout" \
            "same-origin GET $mine"; do
            read -r site verb path <<<"$step"
            ask "$verb" "$path"
            got+="$status "
        done
        is "list, out by another site, sign out, list" "200 403 200 401" "${got% }"
        cookie='' site=''
        rises 2 "logins" webstore_session_operations_total 'operation="create"' 'outcome="done"'
        rises 2 "sessions that were ended" webstore_session_operations_total 'operation="end"' 'outcome="done"'
    fi
fi
bearer=

denials() { # policy, how many
    rises "$2" "denials by the limit $1" webstore_rate_limit_requests_total "policy=\"$1\"" 'result="denied"'
}

if wants user; then
    section "The limit of a user"
    fresh
    remember
    enter "hasty-$run"
    is "$((user_limit + 2)) requests at once" "200 (${user_limit}x), 429 (2x)" "$(flood $((user_limit + 2)))"
    ask GET /US/products
    is "the answer says why" "Maximum $user_limit requests per minute." \
        "$(grep -o 'Maximum [0-9]* requests per minute\.' <<<"$body" || echo "$status, and not why")"
    denials user 3
fi

if wants checkout; then
    section "The limit of checkouts"
    fresh
    enter "buyer-$run"
    ask POST /US/cart '{"product_id":6,"quantity":1}'
    order="{\"order_id\":\"$run-buyer\",\"payment_method\":\"paypal\"}"
    ask POST /US/orders "$order"
    if [[ -z $(quota checkout q) ]]; then
        row skip checkout "" "no policy \`checkout\` on POST /{country}/orders: load/webstore.toml has one"
    else
        remember
        got=$(for ((n = 1; n < checkout_limit + 2; n++)); do
            ask POST /US/orders "$order" && echo "$status"
        done | runs)
        is "the same order $((checkout_limit + 1)) times more" \
            "201 ($((checkout_limit - 1))x), 429 (2x)" "$got"
        denials checkout 2
    fi
fi
bearer=

if wants credential_stuffing; then
    section "Five wrong passwords from one address"
    fresh
    remember
    stuffer=$client
    got=$(for n in 1 2 3 4 5; do login "victim-$run" "guess-$n" && echo "$status"; done | runs)
    is "POST /login" "401 (5x)" "$got"
    incident credential_stuffing
    if ! wants ban; then
        :
    elif ! $trusts; then
        row skip ban "" "[suspicion.bans] is off by default, and would be of the only client: load/webstore.toml has it"
    else
        rises 1 "bans for credential_stuffing" webstore_security_bans_total 'reason="credential_stuffing"'
        # Bans are asked for at most a second late.
        for ((n = 0; n < 20; n++)); do
            ask GET /US/products
            ! is_banned || break
            sleep 0.1
        done
        if is_banned; then got="$status, abnormal-usage-detected"; else got="$status"; fi
        is "any request of that address" "429, abnormal-usage-detected" "$got"
        rises 1 "requests refused by a ban" webstore_security_banned_requests_total 'result="denied"'
        fresh
        ask GET /US/products
        is "a request of another address" 200 "$status"
    fi
    client=$stuffer
fi

if wants endpoint_scanning; then
    section "Ten paths that scanners ask for"
    fresh
    remember
    got=$(for path in /.env /.git/config /wp-login.php /phpmyadmin/ /.aws/credentials /actuator/env /server-status \
        /backup.zip /xmlrpc.php /cgi-bin/luci; do
        ask GET "$path" && echo "$status"
    done | runs)
    is "GET" "404 (10x)" "$got"
    incident endpoint_scanning
fi

if wants abuse; then
    section "Twenty requests that cannot be served"
    fresh
    remember
    # Of one client, the failures of the steps before count too.
    got=$(for ((n = 0; n < 20; n++)); do ask POST /FR/cart '{"product_id":' && echo "$status"; done | runs)
    is "POST /FR/cart with half a body" "400 (20x)" "$got"
    incident abuse
fi

if wants credential_stuffing_slow; then
    section "Twenty wrong passwords from one address, beyond a ban"
    fresh
    remember
    guesses=0 waited=0
    while ((guesses < 20)); do
        login "slow-$run" "guess-$guesses"
        if [[ $status == 401 ]]; then
            guesses=$((guesses + 1))
        elif is_banned; then
            wait=$(header retry-after)
            ((waited += wait)) || true
            ((waited <= longest_ban)) || break
            [[ ! -t 1 ]] || printf '      waiting %d s for the end of the ban\r' "$wait"
            sleep "$wait"
        else
            break
        fi
    done
    if ((guesses == 20)); then got="401 (20x)"; else got="401 (${guesses}x), then $status for ${waited} s"; fi
    is "POST /login" "401 (20x)" "$got"
    incident credential_stuffing_slow
fi

# The next three are off unless a file turns them on, and need to be told apart from the failures before.
for kind in password_spraying distributed_stuffing success_after_failures; do
    $trusts && continue
    ! wants "$kind" || row skip "$kind" "" "off by default and needs several clients: load/webstore.toml has it"
    skip+="$kind,"
done

if $trusts && wants password_spraying; then
    section "One password for five accounts, from one address"
    fresh
    remember
    got=$(for n in 1 2 3 4 5; do login "account-$run-$n" Summer2026 && echo "$status"; done | runs)
    is "POST /login" "401 (5x)" "$got"
    incident password_spraying
fi

if $trusts && wants distributed_stuffing; then
    section "Wrong passwords for one account from four networks"
    remember
    got=
    for n in 1 2 3 4; do
        fresh
        login "target-$run" "guess-$n"
        got+="$status "
    done
    is "POST /login" "401 401 401 401" "${got% }"
    incident distributed_stuffing
    if wants success_after_failures; then
        section "The right password, from a fifth network"
        fresh
        login "target-$run" palisade
        is "POST /login, answered a second late" 200 "$status"
        incident success_after_failures
    fi
fi

if wants ip; then
    section "The limit of an address"
    fresh
    remember
    ask GET /US/products
    is "requests that it says to allow" "$ip_limit" "$(quota ip q)"
    left=$(quota ip r)
    # What this client has sent in the last minute counts; a new one has sent one request.
    ! $trusts || left=$((ip_limit - 1))
    is "$((left + 3)) more at once" "200 (${left}x), 429 (3x)" "$(flood $((left + 3)))"
    ask GET /US/products
    is "the answer says why" "Maximum $ip_limit requests per minute." \
        "$(grep -o 'Maximum [0-9]* requests per minute\.' <<<"$body" || echo "$status, and not why")"
    denials ip 4
    if $trusts; then
        fresh
        ask GET /US/products
        is "a request of another address" 200 "$status"
    fi
fi

echo
if ((unmet)); then
    printf '%s%d of %d expectations are not met%s, %d steps skipped\n' "$red" "$unmet" "$((met + unmet))" "$plain" "$skipped"
    echo "A webstore that was attacked before may have counted some of it already: start a new one and try again."
    exit 1
fi
printf '%sall %d expectations met%s, %d steps skipped\n' "$green" "$met" "$plain" "$skipped"
