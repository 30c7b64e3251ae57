#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# make-elements.sh [--check] [BUILD]
#
# Writes docs/elements.md from what gst-inspect-1.0 says of the elements built in BUILD (build/).
# With --check it writes nothing, and fails when the page says something else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

check=
case ${1:-} in
  -h | --help)
    sed -n '3,/^[^#]/{s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
  --check)
    check=1
    shift
    ;;
esac
build=$(cd "${1:-build}" && pwd)
page=docs/elements.md

command -v gst-inspect-1.0 >/dev/null || {
  echo "make-elements.sh: no gst-inspect-1.0 (Debian: gstreamer1.0-tools)" >&2
  exit 77
}
# Base classes of other versions have other properties.
[[ $(gst-inspect-1.0 --version) == *"GStreamer 1.22."* ]] || {
  echo "make-elements.sh: the page is made with GStreamer 1.22" >&2
  exit 77
}

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
inspect() {
  env LC_ALL=C GST_PLUGIN_PATH="$build/plugin" GST_REGISTRY="$temporary/registry" \
    GST_INSPECT_NO_COLORS=1 gst-inspect-1.0 --no-colors "$@"
}

# One element's section, from the text that gst-inspect-1.0 prints.
section() {
  inspect "$1" | awk -v element="$1" '
    function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); gsub(/\|/, "\\|", s); return s }
    function flush_property() {
      if (name == "" || name == "name" || name == "parent") { name = ""; return }
      gsub(/readable, writable, /, "", flags); gsub(/readable, writable/, "", flags)
      gsub(/^readable$/, "read only", flags)
      sub(/changeable only in NULL or READY state/, "NULL, READY", flags)
      sub(/changeable in NULL, READY, PAUSED or PLAYING state/, "always", flags)
      printf "| `%s` | %s%s | %s | %s%s |\n", name, trim(kind), values == "" ? "" : " " values,
        trim(flags), trim(blurb), fields == "" ? "" : ". Fields: " fields
      name = ""
    }
    /^  Long-name/ { sub(/^  Long-name */, ""); long = $0 }
    /^  Klass/ { sub(/^  Klass */, ""); klass = $0 }
    /^  Description/ && part == "" { sub(/^  Description */, ""); description = $0 }
    /^  Rank/ { sub(/^  Rank */, ""); rank = $0 }
    /^Plugin Details/ {
      part = "plugin"
      printf "## %s\n\n%s. %s.\n\nClass `%s`, rank %s.\n", element, long, description, klass, rank
    }
    /^Pad Templates/ { part = "pads"; next }
    part == "pads" && /^  (SINK|SRC) template/ {
      printf "%s\n### Pad `%s`\n\n```\n", open ? "```\n" : "", substr($3, 2, length($3) - 2)
      open = 1; next
    }
    part == "pads" && /Availability|Capabilities:/ { next }
    part == "pads" && /^      / {
      sub(/^      /, ""); sub(/[ \t]+$/, ""); gsub(/\(string\)/, ""); print
      next
    }
    /^Element has no clocking/ { if (open) print "```"; open = 0; part = "" }
    /^Element Properties/ {
      part = "properties"
      print "\n### Properties\n\n| name | type and default | may change | what it is |"
      print "|---|---|---|---|"
      next
    }
    part != "properties" { next }
    /^[A-Z]/ || /^$/ { if (/^[A-Z]/) { flush_property(); part = "" } next }
    /^  [a-z]/ {
      flush_property()
      name = $1; sub(/:$/, "", name)
      blurb = $0; sub(/^  [^ :]+ *: */, "", blurb)
      flags = kind = values = fields = ""
      next
    }
    /^ *flags:/ { sub(/^ *flags: */, ""); flags = $0; next }
    /^ *\(-?(0x)?[0-9a-f]+\):/ { values = values (values == "" ? "" : ", ") "`" $2 "`"; next }
    /^ +[a-z-]+: / {
      sub(/:$/, "", $1)
      fields = fields (fields == "" ? "" : ", ") "`" $1 "`"
      next
    }
    kind == "" { sub(/^ */, ""); gsub(/  +/, " "); kind = $0 }
    END { flush_property() }'
}

{
  cat <<'END'
# Elements

Made by `docs/make-elements.sh` from what the elements say of themselves; do not edit. "May change"
names the states in which a property can be set. How the elements play together is in
[architecture.md](architecture.md), what they compute in [mathematics.md](mathematics.md).
END
  inspect fenwick | sed -n 's/^  \(fenwick[a-z]*\): .*/\1/p' | sort | while read -r element; do
    echo
    section "$element"
  done
} >"$temporary/page"
grep -q '^## ' "$temporary/page" || {
  echo "make-elements.sh: no elements in $build/plugin" >&2
  exit 1
}

if [ -z "$check" ]; then
  cp "$temporary/page" "$page"
elif ! diff -u "$page" "$temporary/page"; then
  echo "$page is stale: run docs/make-elements.sh" >&2
  exit 1
fi
