// Logistic regression with clustered standard errors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace syco::stats {

struct LogitOptions {
  double confidence = 0.95;
  int max_iterations = 50;
  double tolerance = 1e-10;  // largest change of a coefficient, relative to its size, that ends the iteration
};

struct LogitFit {
  std::vector<double> coefficient;  // one a column of the design; NaN where the fit failed
  std::vector<double> standard_error;
  std::vector<double> low;  // t interval with G - 1 degrees of freedom
  std::vector<double> high;
  std::vector<double> p_value;
  std::int64_t n = 0;
  std::int64_t num_clusters = 0;
  std::int64_t num_unscored = 0;
  std::string reason;  // empty where the fit is there
  bool operator==(const LogitFit&) const = default;
};

// Fits logit P(y = 1) = X beta by Newton's method. `design` is row-major, (n, k), with its constant column if wanted;
// `y` lies in [0, 1] (a tie may be 1/2; a non-finite y is unscored). The covariance is CR1 as in statsmodels' cov_type
// "cluster": the sandwich over clusters times G/(G-1) * (n-1)/(n-k).
// Columns that depend on each other, perfect separation, one cluster or fewer rows than columns: NaN with a reason.
LogitFit logit(std::span<const double> design, std::int64_t num_columns, std::span<const double> y,
               std::span<const std::int64_t> clusters, const LogitOptions& options = {});

}  // namespace syco::stats
