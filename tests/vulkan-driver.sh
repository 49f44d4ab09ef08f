#!/bin/sh
# Installs Mesa's software Vulkan driver where there is no driver.
set -eu

# Where a Vulkan driver announces itself.
has_vulkan_driver() {
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d \
        "${HOME:-/}/.local/share/vulkan/icd.d" /run/opengl-driver/share/vulkan/icd.d; do
        for file in "$folder"/*.json; do
            [ -e "$file" ] && return 0
        done
    done
    return 1
}

if [ "$(uname -s)" = Linux ] && ! has_vulkan_driver; then
    echo "No Vulkan driver: installing Mesa's software driver"
    if ! command -v apt-get >/dev/null; then
        echo "there is no Vulkan driver; install one (Mesa's lavapipe will do: the package mesa-vulkan-drivers or vulkan-swrast)" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "there is no Vulkan driver and no sudo; as root: apt-get install mesa-vulkan-drivers libvulkan1" >&2
            exit 1
        fi
        sudo=sudo
    fi
    if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q mesa-vulkan-drivers libvulkan1; }; then
        echo "could not install a Vulkan driver; by hand: apt-get install mesa-vulkan-drivers libvulkan1" >&2
        exit 1
    fi
fi
