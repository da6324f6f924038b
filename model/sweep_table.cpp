#include "model/sweep_table.h"

#include <fmt/format.h>

#include <cmath>

namespace branchsae::model {
namespace {

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

std::string line(const MemberResult& member, const TapResult& tap) {
  // Neither a member's name nor a tap's holds a quotation mark.
  std::string text = fmt::format("\"{}\",{},\"{}\",{},{},{},{},{}", member.name,
                                 member.failure.empty() ? "finished" : "failed", tap.tap.name, tap.tap.k,
                                 tap.tap.n, tap.tap.d, number(tap.config.learning_rate),
                                 tap.last.tap.empty() ? "" : number(tap.last.loss));
  if (!tap.held_out) return text + ",,,,,\n";
  const SaeMetrics& metrics = *tap.held_out;
  for (const double value : {metrics.fvu, metrics.mse, metrics.l0, metrics.dead, metrics.cosine})
    text.append(",").append(number(value));
  return text + "\n";
}

}  // namespace

std::string sweep_csv(const TrainResult& result) {
  std::string text = "member,status,tap,k,n,d,learning_rate,train_loss,fvu,mse,l0,dead,cosine\n";
  for (const MemberResult& member : result.members) {
    for (const TapResult& tap : member.taps) text += line(member, tap);
  }
  return text;
}

}  // namespace branchsae::model
