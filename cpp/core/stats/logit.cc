#include "core/stats/logit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/stats/estimate.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

struct Sample {
  Matrix x;                           // (n, k)
  Vector y;                           // (n)
  std::vector<std::int64_t> cluster;  // codes 0 .. num_clusters - 1
  std::int64_t num_clusters = 0;
  std::int64_t num_unscored = 0;
};

Sample scored_rows(std::span<const double> design, std::int64_t num_columns, std::span<const double> y,
                   std::span<const std::int64_t> clusters) {
  Sample sample;
  std::vector<Eigen::Index> rows;
  std::unordered_map<std::int64_t, std::int64_t> place;
  for (std::size_t row = 0; row < y.size(); ++row) {
    if (!std::isfinite(y[row])) continue;
    require(y[row] >= 0 && y[row] <= 1, "logit: y must be in [0, 1], got " + std::to_string(y[row]));
    rows.push_back(static_cast<Eigen::Index>(row));
    sample.cluster.push_back(place.try_emplace(clusters[row], static_cast<std::int64_t>(place.size())).first->second);
  }
  const Eigen::Map<const Matrix> x(design.data(), static_cast<Eigen::Index>(y.size()), num_columns);
  const Eigen::Map<const Vector> outcome(y.data(), static_cast<Eigen::Index>(y.size()));
  sample.x = x(rows, Eigen::all);
  sample.y = outcome(rows);
  sample.num_clusters = static_cast<std::int64_t>(place.size());
  sample.num_unscored = static_cast<std::int64_t>(y.size() - rows.size());
  return sample;
}

Vector probabilities(const Sample& sample, const Vector& beta) {
  return (sample.x * beta).unaryExpr([](double odds) { return 1 / (1 + std::exp(-odds)); });
}

// Newton's method; empty reason on success.
std::string_view fit(const Sample& sample, const LogitOptions& options, Vector& beta, Matrix& inverse_information) {
  beta = Vector::Zero(sample.x.cols());
  for (int step = 0; step < options.max_iterations; ++step) {
    const Vector p = probabilities(sample, beta);
    const Vector weight = p.array() * (1 - p.array());
    const Matrix information = sample.x.transpose() * weight.asDiagonal() * sample.x;
    const Eigen::LDLT<Matrix> solver(information);
    const auto pivots = solver.vectorD();
    if (step == 0 && pivots.minCoeff() <= 1e-12 * pivots.maxCoeff())
      return "columns of the design depend on each other";
    // A separated sample sends probabilities to 0 or 1 and the information to zero.
    if (pivots.minCoeff() <= 1e-12 || beta.array().abs().maxCoeff() > 50) break;
    const Vector change = solver.solve(sample.x.transpose() * (sample.y - p));
    beta += change;
    if (change.array().abs().maxCoeff() <= options.tolerance * std::max(1.0, beta.array().abs().maxCoeff())) {
      inverse_information = solver.solve(Matrix::Identity(sample.x.cols(), sample.x.cols()));
      return "";
    }
  }
  return "no finite fit: the columns separate the answers perfectly";
}

Vector clustered_errors(const Sample& sample, const Vector& beta, const Matrix& inverse_information) {
  const Vector residual = sample.y - probabilities(sample, beta);
  Matrix score = Matrix::Zero(sample.num_clusters, sample.x.cols());
  for (Eigen::Index row = 0; row < sample.x.rows(); ++row) {
    score.row(sample.cluster[static_cast<std::size_t>(row)]) += residual[row] * sample.x.row(row);
  }
  const auto n = static_cast<double>(sample.x.rows());
  const auto k = static_cast<double>(sample.x.cols());
  const auto g = static_cast<double>(sample.num_clusters);
  const Matrix sandwich = inverse_information * (score.transpose() * score) * inverse_information;
  return (sandwich.diagonal() * (g / (g - 1) * (n - 1) / (n - k))).array().sqrt();
}

}  // namespace

LogitFit logit(std::span<const double> design, std::int64_t num_columns, std::span<const double> y,
               std::span<const std::int64_t> clusters, const LogitOptions& options) {
  require_confidence(options.confidence, "logit");
  require(num_columns > 0 && design.size() == y.size() * static_cast<std::size_t>(num_columns) &&
              clusters.size() == y.size(),
          "logit: wanted a design of n x k values and one cluster a row, got " + std::to_string(design.size()) +
              " values, k = " + std::to_string(num_columns) + ", n = " + std::to_string(y.size()) + " and " +
              std::to_string(clusters.size()) + " clusters");
  const Sample sample = scored_rows(design, num_columns, y, clusters);
  const auto size = static_cast<std::size_t>(num_columns);
  const std::vector<double> missing(size, kNan);
  LogitFit result{
      missing, missing, missing, missing, missing, sample.x.rows(), sample.num_clusters, sample.num_unscored, {}};
  if (sample.num_clusters < 2 || sample.x.rows() <= num_columns) {
    result.reason =
        sample.num_clusters < 2 ? "one cluster: its variation cannot be estimated" : "fewer rows than columns";
    return result;
  }
  Vector beta;
  Matrix inverse_information;
  result.reason = fit(sample, options, beta, inverse_information);
  if (!result.reason.empty()) return result;
  const Vector errors = clustered_errors(sample, beta, inverse_information);
  const auto df = static_cast<double>(sample.num_clusters - 1);
  const double t = t_quantile(0.5 + options.confidence / 2, df);
  for (std::size_t i = 0; i < size; ++i) {
    const auto column = static_cast<Eigen::Index>(i);
    result.coefficient[i] = beta[column];
    result.standard_error[i] = errors[column];
    result.low[i] = beta[column] - t * errors[column];
    result.high[i] = beta[column] + t * errors[column];
    result.p_value[i] = t_two_sided(beta[column] / errors[column], df);
  }
  return result;
}

}  // namespace syco::stats
