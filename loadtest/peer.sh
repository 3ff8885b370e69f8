#!/usr/bin/env bash
# Tidecast as one of several stream processors that a benchmark runs side by side: keyed windows of one numeric field, from
# one topic to another. Everything comes from the environment:
#
#   BOOTSTRAP   host:port          IN, OUT      topics that are there        GROUP     consumer group
#   WIDTH_MS    a window's size    SLIDE_MS     from one to the next         DELAY_MS  lateness
#   STATE       folder that outlives a kill     GUARANTEE  eos [the default] or alo
#   TIDECAST_BIN  the binary [target/release/tidecast]
set -euo pipefail
bin=${TIDECAST_BIN:-$(dirname "${BASH_SOURCE[0]}")/../target/release/tidecast}
if [ "$WIDTH_MS" = "$SLIDE_MS" ]; then
    window="{ kind = \"tumbling\", size = \"${WIDTH_MS}ms\" }"
else
    window="{ kind = \"hopping\", size = \"${WIDTH_MS}ms\", advance = \"${SLIDE_MS}ms\" }"
fi
exactly_once=true
[ "${GUARANTEE:-eos}" = eos ] || exactly_once=false
mkdir -p "$STATE"
cat > "$STATE/tidecast.toml" << TOML
roles = ["worker"]
[kafka]
bootstrap_servers = ["$BOOTSTRAP"]
group_id = "$GROUP"
# An instance with a lasting name takes its partitions up again at once when it comes back.
group_instance_id = "only"
exactly_once = $exactly_once
[topics]
events = "$IN"
aggregates = "$OUT"
predictions = "$GROUP-predictions"
alerts = "$GROUP-alerts"
metrics = "$GROUP-metrics"
dlq = "$GROUP-dlq"
[admin]
port = 0
[state]
dir = "$STATE/state"
[[series]]
name = "readings"
key = "source"
values = ["value"]
window = $window
lateness = "${DELAY_MS}ms"
idle_after = "10m"
percentiles = false
TOML
exec "$bin" run --config "$STATE/tidecast.toml"
