# Sourced by quickstart and test: makes .venv with the extras asked for, once for each state of the dependencies.
# Usage: ensure_venv EXTRAS      e.g. ensure_venv models,codecarbon

ensure_venv() {
  local extras=$1 stamp wanted
  stamp=".venv/.installed-${extras//,/-}"
  wanted=$(cat pyproject.toml constraints.txt | cksum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    return
  fi
  local python=""
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "error: Python 3.11 or newer is needed. Install it, or name one with PYTHON=/path/to/python3." >&2
    exit 2
  fi
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  echo "Installing energy-harness[$extras] into .venv (a minute or two, once) ..." >&2
  .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[$extras]" 2> .venv/pip.log || {
    cat .venv/pip.log >&2
    echo "error: the packages could not be installed; see above. A package registry must be reachable." >&2
    exit 2
  }
  echo "$wanted" > "$stamp"
}
