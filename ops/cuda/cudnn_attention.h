// Attention in bf16 by cuDNN's fused kernel, on tensor cores. The library is looked up at run time: one program runs with and without it.
#pragma once
#include <string>

#include "engine/device.h"
#include "engine/tensor.h"

namespace stflow {

/// out (images, tokens, d) = attention of qkv (images, tokens, 3 d), both bf16, as attention() has it, by libcudnn.so.9 (9.13.1 or later)
/// or the file that STFLOW_CUDNN names. False where there is none, where it refuses, under STFLOW_CUDNN=off and in the emulator: nothing is
/// written then, and the own kernel has to compute. Why is said once, in one line of stderr. The first call of a thread with a shape
/// allocates and compiles.
bool cudnn_attention(Cuda on, Tensor qkv, int heads, Tensor out);
/// What computes attention in bf16 on this device: "cuDNN 9.19.0", or "own kernel (why)". Tries the shape of ViT-L/16.
std::string half_attention_by();

}  // namespace stflow
