#!/bin/sh
# Installs Chromium on a machine that has apt-get and no Chromium. Without the right to install, it says how.
set -eu
cd "$(dirname "$0")"

python3 -c 'import sys, devtools; sys.exit(devtools.find() is None)' && exit 0
command -v apt-get >/dev/null || exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || exit 0
    sudo=sudo
fi
echo "No Chromium: installing it"
$sudo apt-get update -q &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium ||
    echo "could not install Chromium; by hand: apt-get install chromium" >&2
