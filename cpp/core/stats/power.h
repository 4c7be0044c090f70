// How many units a study needs, and what a given number can find. Sizes are real numbers: round up.
#pragma once

#include "core/stats/estimate.h"

namespace syco::stats {

struct PowerOptions {
  double alpha = 0.05;  // two-sided level
  double power = 0.8;
};

// Pairs that the McNemar test needs when a share p10 of all pairs changes one way and p01 the other (Miettinen 1968;
// Connor 1987): (z_{1-alpha/2} sqrt(p10+p01) + z_{power} sqrt(p10+p01-(p10-p01)^2))^2 / (p10-p01)^2.
// Throws DataError unless p10, p01 >= 0, p10 + p01 <= 1 and p10 != p01.
double mcnemar_sample_size(double p10, double p01, const PowerOptions& options = {});

// Power of the McNemar test with n pairs: the same formula solved for power.
double mcnemar_power(double n, double p10, double p01, double alpha = 0.05);

// Clusters (claims) that a two-sided t test of a mean needs to find `effect`, where one cluster's mean varies with
// standard deviation `sd`; the exact noncentral t is approximated by (t_{1-alpha/2, G-1} + t_{power, G-1})^2 sd^2 /
// effect^2 = G.
double clusters_needed(double effect, double sd, const PowerOptions& options = {});

// Smallest true value that a test at 1 - confidence of this estimate finds with probability `power`:
// (t_{1-alpha/2} + t_{power}) * SE. NaN where there is no standard error.
double detectable(const Estimate& estimate, double power = 0.8);

}  // namespace syco::stats
