"""exp, log, power, cosine and sine whose bits do not depend on the machine.

The C library and NumPy choose an implementation by the processor, and their last bits differ.
Here every value comes from additions, multiplications and one division in a fixed order, none
of them contracted, so that equal arguments give equal bits wherever floats are IEEE 754:

* exp: x = k ln 2 + r with |r| <= ln(2) / 2, Taylor polynomial of degree 13;
* log: x = 2^k m with m from sqrt(1/2) to sqrt(2), 2 atanh((m - 1) / (m + 1));
* cos, sin: x = k pi / 2 + r with |r| <= pi / 4, Taylor polynomials; |x| up to 1e5.

Errors are below two units in the last place (cos and sin: below 2e-16 absolute). Arguments are
split as in Cody and Waite, "Software Manual for the Elementary Functions", 1980.

Plain Python on one number; `cimsim.elementary_arrays` has compiled twins with the same bits.
"""

from __future__ import annotations

import math

__all__ = [
    "LN2_HIGH",
    "LN2_LOW",
    "LOG2E",
    "RANGE",
    "ROUND",
    "cos_sin",
    "exp",
    "exp_polynomial",
    "log",
    "log2",
    "power",
    "whole_log2",
]

LOG2E = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # 32 bits: k times it is exact
LN2_LOW = 1.90821492927058770002e-10
RANGE = (-746.0, 710.0)
"""Arguments beyond which exp is 0 and infinite."""
ROUND = 1.5 * 2.0**52
"""A float near it is a whole number."""
_MOST_FACTORS = 64
_ROOT_HALF = 0.7071067811865476
_TWO_OVER_PI = 0.6366197723675814
# pi / 2 in three parts: k times the first two is exact for k below 2^20.
_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)


def exp(x: float) -> float:
    """Return e^x; 0 or infinity where it leaves the range of floats."""
    y = min(RANGE[1], max(RANGE[0], x))
    k = (y * LOG2E + ROUND) - ROUND
    p = exp_polynomial((y - k * LN2_HIGH) - k * LN2_LOW)
    half = int(k) // 2  # in two steps: 2^1024 is no float, and 2^-1074 has no bits to spare
    value = p * math.ldexp(1.0, half) * math.ldexp(1.0, int(k) - half)
    return x if math.isnan(x) else value


def exp_polynomial(r: float) -> float:
    """Return e^r for |r| <= ln(2) / 2."""
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.3888888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    p = p * r + 1.0
    return p * r + 1.0


def log(x: float) -> float:
    """Return the natural logarithm; -infinity of 0, not a number below."""
    if not 0.0 < x < math.inf:
        return x if x > 0.0 else (-math.inf if x == 0.0 else math.nan)
    m, k = math.frexp(x)
    if m < _ROOT_HALF:
        m, k = 2.0 * m, k - 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 0.043478260869565216
    p = p * z + 0.047619047619047616
    p = p * z + 0.05263157894736842
    p = p * z + 0.058823529411764705
    p = p * z + 0.06666666666666667
    p = p * z + 0.07692307692307693
    p = p * z + 0.09090909090909091
    p = p * z + 0.1111111111111111
    p = p * z + 0.14285714285714285
    p = p * z + 0.2
    p = p * z + 0.3333333333333333
    # log m = 2 s + 2 s z p, and 2 s = f - s f.
    return k * LN2_HIGH + (f - (s * (f - 2.0 * z * p) - k * LN2_LOW))


def log2(x: float) -> float:
    """Return the logarithm to base 2 of a positive number; exact for powers of 2."""
    m, k = math.frexp(x)
    if m < _ROOT_HALF:
        m, k = 2.0 * m, k - 1
    return k + log(m) * LOG2E


def whole_log2(x: float) -> int:
    """Return the greatest k with 2^k <= x, for x > 0."""
    return math.frexp(x)[1] - 1


def power(base: float, exponent: float) -> float:
    """Return base^exponent of a positive base; whole exponents up to 64 by multiplication."""
    if exponent == math.floor(exponent) and abs(exponent) <= _MOST_FACTORS:
        value = 1.0
        for _ in range(int(abs(exponent))):
            value *= base
        return value if exponent >= 0 else 1.0 / value
    return exp(exponent * log(base))


def cos_sin(x: float) -> tuple[float, float]:
    """Return cosine and sine of an angle in radians, |x| up to 1e5."""
    k = math.floor(x * _TWO_OVER_PI + 0.5)
    r = ((x - k * _HALF_PI[0]) - k * _HALF_PI[1]) - k * _HALF_PI[2]
    z = r * r
    c = 4.779477332387385e-14
    c = c * z - 1.1470745597729725e-11
    c = c * z + 2.08767569878681e-09
    c = c * z - 2.755731922398589e-07
    c = c * z + 2.48015873015873e-05
    c = c * z - 1.3888888888888889e-03
    c = c * z + 4.1666666666666664e-02
    c = c * z - 0.5
    c = c * z + 1.0
    s = -7.647163731819816e-13
    s = s * z + 1.6059043836821613e-10
    s = s * z - 2.505210838544172e-08
    s = s * z + 2.7557319223985893e-06
    s = s * z - 1.984126984126984e-04
    s = s * z + 8.333333333333333e-03
    s = s * z - 1.6666666666666666e-01
    s = r + r * (s * z)
    turn = int(k) % 4
    if turn == 0:
        return c, s
    if turn == 1:
        return -s, c
    if turn == 2:
        return -c, -s
    return s, -c
