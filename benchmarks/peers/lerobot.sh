#!/bin/sh
# Make an environment with lerobot beside ours: it wants Python 3.12 and other versions of what we use.
#
#     benchmarks/peers/lerobot.sh [PYTHON] [FOLDER]
#
# PYTHON is python3.12 unless given, FOLDER build/peers/lerobot. Several GB: lerobot's torch comes with its GPU libraries.
set -eu
python=${1:-python3.12}
folder=${2:-build/peers/lerobot}
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet 'lerobot[dataset,diffusion]==0.6.1'
echo "$folder/bin/python"
