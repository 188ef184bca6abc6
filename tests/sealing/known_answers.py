#!/usr/bin/env python3
"""Prints the known answers in the tests of `crates/icecore/src/pure/{keys,record_cipher,block_cipher}.rs` and of
`crates/icecore/src/stores/seals.rs`, from other implementations: pip install blake3 cryptography."""

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def derive(context, *material, length=32):
    return blake3(b"".join(material), derive_key_context="icecore 2026-11-30 " + context).digest(length=length)


def u32(number):
    return number.to_bytes(4, "little")


def u64(number):
    return number.to_bytes(8, "little")


def sealed(keys, number, raw_bytes, content):
    cipher, nonce_key = keys[:32], keys[32:]
    about = u64(number) + u64(raw_bytes) + u64(len(content))
    nonce = blake3(content + about, key=nonce_key).digest()[:12]
    both = AESGCM(cipher).encrypt(nonce, content, about)
    return both[:-16] + nonce + both[-16:]


def block(keys, number, content):
    cipher = Cipher(algorithms.AES(keys), modes.XTS(u64(number) + bytes(8))).encryptor()
    return cipher.update(content) + cipher.finalize()


def padme(length):
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - min(exponent.bit_length(), exponent))
    return -(-length // unit) * unit


def padded(content, length):
    content += b"\x80"
    return content + bytes(length(len(content)) - len(content))


def sealed_file(epoch, kind, number, content):
    keys = derive("sealed " + kind, epoch, salt, length=64)
    content = padded(content, padme)
    return b"ICESEAL\n\x01\0\x01\0" + u32(1) + salt + sealed(keys, number, len(content), content)


master = bytes(range(32))
salt = bytes(range(100, 124))
print("id key", derive("id key", master).hex())
for number in (0, 1, 2**32 - 1):
    print("epoch key", number, derive("epoch key", master, u32(number)).hex())
epoch = derive("epoch key", master, u32(1))
for kind in ("pack", "entry", "checkpoint", "local", "reads", "overlay"):
    keys = derive("sealed " + kind, epoch, salt, length=64)
    print(kind, keys.hex())
    if kind != "overlay":
        print("  record 258 of 40 bytes", sealed(keys, 258, 1000, bytes(range(40))).hex())
        print("  empty record 0", sealed(keys, 0, 0, b"").hex())
content = bytes(at % 251 for at in range(4096))
for number in (0, 2**32 + 5):
    whole = block(keys, number, content)
    print("  block", number, whole[:16].hex(), whole[-16:].hex(), blake3(whole).hexdigest())
ieee = bytes.fromhex(
    "27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592"
)
whole = block(ieee, 0xFF, bytes(range(256)) * 16)
print("IEEE 1619 vector 10", whole[:16].hex(), whole[496:512].hex(), blake3(whole[:512]).hexdigest(), blake3(whole).hexdigest())
for kind, number in (("entry", 300), ("checkpoint", 300), ("local", 0), ("reads", 3)):
    print("file", kind, blake3(sealed_file(epoch, kind, number, b"a file of one hundred bytes " * 4)).hexdigest())
keys = derive("sealed pack", epoch, salt, length=64)
record = padded(b"compressed", lambda length: -(-length // 256) * 256)
print("record 258 of a pack", blake3(sealed(keys, 258, 4096, record)).hexdigest())
print("chunk that is not compressed", blake3(sealed(keys, 3, 4096, bytes([7]) * 4096)).hexdigest())
