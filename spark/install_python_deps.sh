#!/bin/bash
# Bootstrap action of the clusters, run on every node: unpacks the Python packages that EMR's python3.11 lacks.
# Argument: how the s3:// URIs of their zip files begin; there is one for each CPU architecture. The path is the PYTHONPATH that statemachine/run.asl.yaml sets.
set -euo pipefail

packages_uri="$1$(uname -m).zip"
readonly packages_uri
readonly target=/opt/tidegate/python
archive="$(mktemp --suffix=.zip)"
readonly archive
trap 'rm -f "$archive"' EXIT

aws s3 cp --only-show-errors "$packages_uri" "$archive"
sudo mkdir -p "$target"
sudo python3.11 -m zipfile -e "$archive" "$target"
sudo chmod -R a+rX "$target"
