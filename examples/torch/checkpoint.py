"""Reads and writes the files that src/checkpoint/mod.rs describes."""

import json
import os
import zlib
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file


class Refused(ValueError):
    """What does not fit. Says all of it, one thing per line; nothing was changed or written."""


@dataclass
class Checkpoint:
    optimizer: dict  # groups, counts, options
    user: dict  # the caller's texts by name
    tensors: dict  # by their names in the file

    def slots(self):
        """For each parameter's name the names of its state, `step` apart: {"fc.weight": ["exp_avg", …]}."""
        slots = {name: [] for group in self.optimizer["groups"] for name in group["tensors"]}
        for key in self.tensors:
            part, _, rest = key.partition(".")
            name, _, slot = rest.rpartition(".")
            if part == "state" and slot != "step":
                slots[name].append(slot)
        return slots


def read(path):
    """The checkpoint in the file `path`, once its checksums were compared."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise Refused(f"{path}: {error}") from error
    if (metadata.get("format"), metadata.get("version")) != ("wgpu-optim", "1"):
        raise Refused(f"{path}: no checkpoint of wgpu-optim, or not of version 1")
    texts = [metadata[name] for name in ("optimizer", "user", "checksums")]
    optimizer, user, checksums = map(json.loads, texts)
    if metadata["checksum"] != checksum_of_texts(texts):
        raise Refused(f"{path}: the header's checksum is wrong; the file was changed")
    for name, tensor in tensors.items():
        if checksums.get(name) != checksum(tensor):
            raise Refused(f"{path}: the checksum of {name} is wrong; the file was changed")
    return Checkpoint(optimizer, user, tensors)


def write(path, checkpoint):
    """Replaces the file `path` as a whole."""
    checksums = {name: checksum(tensor) for name, tensor in checkpoint.tensors.items()}
    texts = [json.dumps(part, allow_nan=False) for part in
             (checkpoint.optimizer, checkpoint.user, checksums)]
    metadata = dict(zip(("optimizer", "user", "checksums"), texts)) | {
        "format": "wgpu-optim", "version": "1", "checksum": checksum_of_texts(texts)}
    unfinished = f"{path}.unfinished"
    save_file(checkpoint.tensors, unfinished, metadata)
    os.replace(unfinished, path)


def checksum(tensor):
    return f"{zlib.crc32(tensor.reshape(-1).numpy()):08x}"


def checksum_of_texts(texts):
    return f"{zlib.crc32(''.join(text + chr(10) for text in texts).encode()):08x}"
