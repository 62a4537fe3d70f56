"""The time of verifying a signature: measured on this machine, and estimated for microcontrollers by counting steps."""

import hashlib
import statistics
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.board import Board
from bench.report import Table
from otalink_host.keys import BITS, EXPONENT, create, load_signer

ROUNDS = 200
# Bits of a digit of MicroPython's big integers (py/mpz.h): on a microcontroller, and where pointers have 8 bytes.
DIGIT, DIGIT_HERE = 16, 32


@dataclass(frozen=True)
class Chip:
    """Cycles that a chip takes for a step of each inner loop of py/mpz.c, counted from the instructions it needs."""

    name: str
    megahertz: int
    multiply: int
    subtract: int
    add: int


CHIPS = (
    Chip("ESP32", 160, 11, 25, 15),
    Chip("ESP8266", 80, 14, 28, 18),
    Chip("RP2040", 125, 15, 30, 20),
)


@dataclass
class Steps:
    """How often each inner loop runs in a verification: of the products, and of the remainders (subtract, add)."""

    multiply: int = 0
    subtract: int = 0
    add: int = 0


def measure(work: Path) -> list[Table]:
    """Verifies a real signature, and counts what that is made of."""
    board = Board(work / "modules")
    create(work / "keys", "bench")
    signer = load_signer(work / "keys", "bench", lambda path: b"")
    signed = b"the header of a release"
    modulus, signature = signer.key.modulus, signer.sign(signed)
    parts = {"modulus": modulus, "digest": hashlib.sha256(signed).digest(), "signature": signature}
    arguments = {name: b64encode(part).decode() for name, part in parts.items()}
    times = board.run("signature", {**arguments, "rounds": ROUNDS})
    milliseconds = statistics.median(times) / 1000
    here, there = (_count(modulus, signature, bits) for bits in (DIGIT_HERE, DIGIT))
    number = here.multiply + here.subtract + here.add
    products, digits = EXPONENT.bit_length(), BITS // DIGIT
    estimated = {chip.name: _seconds(chip, there) for chip in CHIPS}
    return [
        Table(
            f"Signature: one verification, {BITS:,} bits",
            ("", "steps", "cycles a step", "cycles", "time"),
            [
                (f"measured here, the median of {ROUNDS}", f"{number:,}", "", "", f"{milliseconds:.2f} ms"),
                *(row for chip in CHIPS for row in _rows(chip, there)),
            ],
            [],
            [
                "What is not measured here is an ESTIMATE. The exponent is "
                f"{EXPONENT}: {products - 1} squarings and a multiplication, {products} products and as many "
                f"remainders. MicroPython's integers have digits of {DIGIT} bits on a microcontroller (py/mpz.h), "
                f"{digits} for {BITS:,} bits, and of {DIGIT_HERE} bits here. A product takes {digits} x {digits} "
                "steps: digit times digit, added to a digit and a carry. A remainder takes "
                f"{digits + 1} rows of {digits} steps, which subtract a multiple of the modulus, and a row more for "
                "each unit by which that was too much: those were counted, for this key and this signature, by the "
                "rule of py/mpz.c; they differ from key to key.",
                "Cycles a step, the estimate's weak point: RP2040, the instructions that clang makes of these loops "
                "for a Cortex-M0+ (-Os), two cycles for a load, a store or a branch taken; ESP32 and ESP8266, the same "
                "loops written down by hand in their instructions, the ESP8266 without the ESP32's loops that cost "
                "nothing. All of it is taken to run from the cache. Reading and hashing the header come on top.",
            ],
            {"milliseconds": milliseconds, "steps": vars(there), "estimated_seconds": estimated},
        )
    ]


def _count(modulus: bytes, signature: bytes, bits: int) -> Steps:
    n, s = int.from_bytes(modulus, "big"), int.from_bytes(signature, "big")
    digits = len(modulus) * 8 // bits
    found = Steps()
    opened = s
    for factor in _factors(s):
        product = opened * (factor or opened)
        found.multiply += digits * digits
        found.subtract += (digits + 1) * digits
        found.add += _added_back(product, n, digits, bits) * digits
        opened = product % n
    return found


def _factors(s: int) -> Iterator[int]:
    # None of its own for a squaring.
    yield from [0] * (EXPONENT.bit_length() - 1)
    yield s


def _added_back(number: int, n: int, digits: int, bits: int) -> int:
    """How often the schoolbook division of py/mpz.c adds `n` back: it guesses each digit by the leading one of `n`."""
    lead = n >> bits * (digits - 1)
    rows = 0
    for place in range(digits, -1, -1):
        guess = (number >> bits * (digits - 1 + place)) // lead
        digit, number_left = divmod(number, n << bits * place)
        rows += guess - digit
        number = number_left
    return rows


def _seconds(chip: Chip, steps: Steps) -> float:
    cycles = chip.multiply * steps.multiply + chip.subtract * steps.subtract + chip.add * steps.add
    return cycles / (chip.megahertz * 1e6)


def _rows(chip: Chip, steps: Steps) -> Iterator[tuple[str, ...]]:
    total = 0
    for name, what in (("multiply", "products"), ("subtract", "remainders"), ("add", "remainders, added back")):
        number, cycles = getattr(steps, name), getattr(chip, name)
        total += number * cycles
        yield f"{chip.name}: {what}", f"{number:,}", str(cycles), f"{number * cycles:,}", ""
    seconds = _seconds(chip, steps)
    yield f"{chip.name} at {chip.megahertz} MHz, ESTIMATED", "", "", f"{total:,}", f"{seconds:.2f} s"
