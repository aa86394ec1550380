#!/usr/bin/env bash
# The GPUs of this host, as Spark reads them: {"name": "gpu", "addresses": ["0", "1"]}.
# Where CUDA_VISIBLE_DEVICES says which ones a process may use, these; otherwise all that nvidia-smi knows.
set -euo pipefail
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
  found="$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES")"
else
  found="$(nvidia-smi --query-gpu=index --format=csv,noheader)"
fi
awk 'BEGIN { printf "{\"name\": \"gpu\", \"addresses\": [" }
     NF { printf "%s\"%s\"", separator, $1; separator = ", " }
     END { print "]}" }' <<<"$found"
