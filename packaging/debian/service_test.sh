#!/bin/sh
# What an operator does with the service, run by systemd itself in the root of packaging/try. Prints a line for each step that holds; the last is
# `done`. /root/alluvium.deb is the package, and /etc/alluvium holds the project of `alluvium init`.
set -e
systemctl start alluvium
for _ in $(seq 150); do
  if python3 -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:9464/readyz")' 2>/dev/null; then ready=yes; break; fi
  sleep 0.2
done
[ "$ready" = yes ]
[ "$(systemctl show -p User --value alluvium)" = alluvium ]
echo "the service runs within its limits, and is ready"
python3 -c 'import sys, time, urllib.request
for _ in range(100):
    text = urllib.request.urlopen("http://127.0.0.1:9464/metrics").read().decode()
    found = [line for line in text.splitlines() if line.startswith("alluvium_view_differs{")]
    if len(found) == 3: sys.exit(any(not line.endswith(" 0") for line in found))
    time.sleep(0.2)
sys.exit("no verification")'
echo "it verifies its views at low priority"
alluvium -C /etc/alluvium rebuild revenue_by_country >/dev/null
echo "it takes commands"
dpkg -i /root/alluvium.deb >/dev/null
systemctl is-active --quiet alluvium
echo "an upgrade leaves it running"
systemctl stop alluvium
[ "$(systemctl show -p Result -p ExecMainStatus --value alluvium | tr '\n' ' ')" = "success 0 " ]
echo "systemctl stop ends it with 0"
systemctl enable --quiet --now alluvium 2>/dev/null
systemctl is-active --quiet alluvium
dpkg --purge alluvium >/dev/null
if systemctl is-active --quiet alluvium || [ -e /etc/systemd/system/multi-user.target.wants/alluvium.service ] || [ -e /etc/alluvium ]; then exit 1; fi
echo "a purge stops, disables and removes it"
echo done
