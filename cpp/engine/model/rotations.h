// How a config says that positions turn a head's features.
#pragma once

#include "engine/model/config_reader.h"

namespace syco {

struct RotationRules {
  bool in_part = false;     // the family rotates a part of a head's features if the config says so
  bool neighbours = false;  // a pair is two neighbours (GLM), not features half of the rotated ones apart
  bool by_kind = false;     // layers with a window have a rotation of their own
  bool by_axes = false;     // of an image's positions, which are one for text (Qwen2-VL)
};

// Sets the rotations of a spec whose sizes and windows are known. Throws ModelError naming what it does not know.
void read_rotations(ConfigReader& config, Spec& spec, const RotationRules& rules);

}  // namespace syco
