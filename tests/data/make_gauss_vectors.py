#!/usr/bin/env python3
"""Writes gauss-extra-vectors.json: corner cases of GaussDB's password authentication.

Computed with nothing but hashlib and hmac from doc/gaussdb-protocol.md, so that they share no
code with what they test.

usage: make_gauss_vectors.py [FILE]     ("-" for standard output)
"""

import hashlib
import hmac
import json
import pathlib
import struct
import sys

SALT = "9677838199f12d36f5ee971d49f68abc68282968d696f9091570be6d9b730a07"
SUFFIX = "ecdfdcefade"

# name, password, salt, token, iterations
CASES = [
    ("empty password", "", SALT, "0a1b2c3d", 2048),
    ("1 byte", "x", SALT, "0a1b2c3d", 2048),
    ("64 bytes, one block of HMAC", "Aa1@" * 16, SALT, "0a1b2c3d", 2048),
    ("65 bytes, hashed first", "Aa1@" * 16 + "b", SALT, "0a1b2c3d", 2048),
    ("128 bytes", "Aa1@" * 32, SALT, "0a1b2c3d", 2048),
    ("1000 bytes", "Aa1@" * 250, SALT, "0a1b2c3d", 2048),
    ("what SASLprep would change", "a\u00ad\u2168\u00a0\uff21", SALT, "0a1b2c3d", 2048),
    ("salt with leading zeros", "Gauss@123", "0000" + SALT[4:], "0a1b2c3d", 2048),
    ("salt of zeros", "Gauss@123", "00" * 32, "0a1b2c3d", 2048),
    ("salt of ones", "Gauss@123", "ff" * 32, "0a1b2c3d", 2048),
    ("token with leading zeros", "Gauss@123", SALT, "00000a0b", 2048),
    ("token of zeros", "Gauss@123", SALT, "00000000", 2048),
    ("token of ones", "Gauss@123", SALT, "ffffffff", 2048),
    ("1 iteration", "Gauss@123", SALT, "0a1b2c3d", 1),
    ("2 iterations", "Gauss@123", SALT, "0a1b2c3d", 2),
    ("an odd number of iterations", "Gauss@123", SALT, "0a1b2c3d", 13579),
]


def sm3(data):
    return hashlib.new("sm3", data).digest()


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def suffix(iterations):
    """Eleven characters: the base plus one digit each, the lowest digit first."""
    digits = f"{iterations:011d}"[::-1]
    return "".join(chr(ord(base) + int(digit)) for base, digit in zip(SUFFIX, digits))


def message(kind, body):
    return (kind + struct.pack("!i", len(body) + 4) + body).hex()


def vector(name, password, salt, token, iterations):
    k = hashlib.pbkdf2_hmac("sha1", password.encode(), bytes.fromhex(salt), iterations, 32)
    client_key = mac(k, b"Client Key")
    server_key = mac(k, b"Sever Key")  # the misspelling is the protocol
    stored_key = sha256(client_key)
    nonce = bytes.fromhex(token)
    answer = xor(client_key, mac(stored_key, nonce)).hex()
    signature = mac(server_key, nonce).hex()
    challenge = struct.pack("!ii", 10, 2) + (salt + token).encode()
    stored_sm3 = sm3(client_key)
    return {
        "name": name,
        "password": password,
        "random64code": salt,
        "token": token,
        "iterations": iterations,
        "k": k.hex(),
        "client_key": client_key.hex(),
        "stored_key": stored_key.hex(),
        "server_key": server_key.hex(),
        "server_signature": signature,
        "client_response": answer,
        "client_message_hex": message(b"p", answer.encode() + b"\0"),
        "auth_request_30_hex": message(b"R", challenge + signature.encode()),
        "auth_request_350_hex": message(b"R", challenge),
        "auth_request_351_hex": message(b"R", challenge + struct.pack("!i", iterations)),
        "iteration_suffix": suffix(iterations),
        "stored_rolpassword_sha256":
            "sha256" + salt + server_key.hex() + stored_key.hex() + suffix(iterations),
        "sm3_stored_key": stored_sm3.hex(),
        "sm3_server_key": mac(k, b"Server Key").hex(),
        "sm3_client_response": xor(client_key, mac(stored_sm3, nonce)).hex(),
    }


def main():
    here = pathlib.Path(__file__).resolve().parent
    target = sys.argv[1] if len(sys.argv) > 1 else str(here / "gauss-extra-vectors.json")
    text = json.dumps({"sha256": [vector(*case) for case in CASES]}, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        pathlib.Path(target).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
