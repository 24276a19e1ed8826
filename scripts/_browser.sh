# Sourced by .ci/run: installs Debian's Chromium where there is none and this may be done; else the browser tests skip.

ensure_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null; then return 0; fi
  done
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "note: there is no Chromium, and it cannot be installed here: the page is not tested in a browser." >&2
    return 0
  fi
  echo "Installing Chromium for the tests of the page (once) ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends chromium > .chromium.log 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } > .chromium.log 2>&1 ||
    { cat .chromium.log >&2; echo "note: Chromium could not be installed: the page is not tested in a browser." >&2; }
}
