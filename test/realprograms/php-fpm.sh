#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# php-fpm: each request over FastCGI is one phase, and each file compiled for it.
. "$(dirname "$0")/lib.sh"

need php-fpm8.2 php8.2-fpm
need cgi-fcgi libfcgi-bin
requests=${REQUESTS:-60}

cat >"$work/fpm.conf" <<EOF
[global]
error_log = $work/error.log
daemonize = no
[www]
listen = $work/socket
pm = static
pm.max_children = 2
clear_env = no
EOF
echo '<?php include "'"$work"'/part.inc"; echo "page ", $_GET["n"];' >"$work/page.php"
echo '<?php $x = 1;' >"$work/part.inc"
USE_ZEND_DTRACE=1 background php-fpm8.2 --allow-to-run-as-root -R -n -y "$work/fpm.conf"
until_true 20 test -S "$work/socket"
fetch() {
	env -i SCRIPT_FILENAME="$work/page.php" SCRIPT_NAME=/page.php REQUEST_URI="/page.php?n=$1" QUERY_STRING="n=$1" \
		REQUEST_METHOD=GET "$(command -v cgi-fcgi)" -bind -connect "$work/socket"
}
until_true 20 fetch 0

trace -f -p "$last"
for n in $(seq "$requests"); do fetch "$n" >>"$work/answers"; echo >>"$work/answers"; done
trace_end

head_line "php-fpm, $(dpkg-query -W -f '${Version}' php8.2-fpm)"
same "answers" "$requests" "$(grep -c '^page ' "$work/answers")"
same "requests" "$requests" "$(phases request)"
same "  with their method" "$requests" "$(phases request '"method":"GET"')"
same "  with their file and URI" "$requests" "$(phases request "\"file\":\"$work/page.php\",\"uri\":\"/page.php")"
same "compiles, two files each" $((2 * requests)) "$(phases compile)"
sound
