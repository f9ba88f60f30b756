// exp, log, pow, sin and cos in double, the project's own: libm picks variants by processor, and these give the same bits
// on every one. Errors are relative, against the exact value, as measured by the tests.
#pragma once

namespace ds::math {

double exp(double x);              // within 2e-16; 0 below -708.39 (no subnormal results), infinity above 709.78
double log(double x);              // within 3e-16; -infinity at 0, NaN below
double pow(double x, double y);    // exp(y log x) for x >= 0: within 3e-16 * (1 + |y log x|); pow(x, 0) is 1, NaN for x < 0
double sin(double x);              // within 2e-16 absolute for |x| < 2^30, NaN beyond
double cos(double x);

}  // namespace ds::math
