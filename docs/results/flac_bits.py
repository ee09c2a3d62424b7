#!/usr/bin/env python3
"""Bits a sample that `flac -8` needs for mono WAV files of 16 bits, all in one stream: flac_bits.py FILE...

Once for the samples as they are, once for their mu-law tokens as 8-bit samples: the same 256 steps that a model of them has.
"""
import json
import math
import subprocess
import sys
import wave


def samples_of(path):
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), path
        data = file.readframes(file.getnframes())
    return [int.from_bytes(data[i:i + 2], "little", signed=True) for i in range(0, len(data), 2)]


def mu_law(sample):
    """As pipelines/audio/codec.h says."""
    x = sample / 32768
    y = math.copysign(math.log1p(255 * abs(x)) / math.log(256), x)
    return min(255, math.floor(128 * (y + 1)))


def flac_bits(data, bits):
    command = ["flac", "-8", "--totally-silent", "--stdout", "--no-padding", "--force-raw-format", "--endian=little", "--channels=1",
               "--sample-rate=8000", f"--bps={bits}", f"--sign={'signed' if bits == 16 else 'unsigned'}", "-"]
    return 8 * len(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout)


samples = [s for path in sys.argv[1:] for s in samples_of(path)]
tokens = bytes(map(mu_law, samples))
as_they_are = b"".join(s.to_bytes(2, "little", signed=True) for s in samples)
print(json.dumps({"samples": len(samples), "flac_16_bits": flac_bits(as_they_are, 16) / len(samples),
                  "flac_mu_law": flac_bits(tokens, 8) / len(samples)}))
