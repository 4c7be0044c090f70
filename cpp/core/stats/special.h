// Special functions behind the intervals. Accurate to about 1e-12 relative for the arguments that occur here
// (parameters up to 1e6); the oracle of every one is scipy.special / scipy.stats. Arguments outside a domain give NaN.
#pragma once

#include <cstdint>

namespace syco::stats {

// log of the beta function B(a, b), a and b > 0.
double log_beta(double a, double b);

// Regularised incomplete beta function I_x(a, b), x in [0, 1], and its inverse in x.
double incomplete_beta(double a, double b, double x);
double incomplete_beta_inverse(double a, double b, double p);

// Standard normal distribution function and quantile.
double normal_cdf(double z);
double normal_quantile(double p);

// Student's t with df > 0 degrees of freedom (need not be whole): distribution function and quantile.
double t_cdf(double t, double df);
double t_quantile(double p, double df);

// Two-sided p value of a t statistic; keeps its relative accuracy in the far tail.
double t_two_sided(double t, double df);

}  // namespace syco::stats
