// Multi-token prediction as DeepSeek-V3 does it (arXiv 2412.19437, section 2.2): a head of one block, which sees beside the
// model's state of a token the token that came after it, and says the one after that.
#pragma once
#include "model/decoder.h"

namespace ds {

// A cache with a layer more, number num_hidden_layers, where the head keeps its keys and values is made with this config.
Config with_mtp_layer(const Config& config);

// One step of the head for the rows of a batch: `hidden`[T, H] are the states of the tokens at batch.positions, and
// batch.tokens those that came after them, one further on. Row t becomes
//   final_normed[t] = norm(block(eh_proj [enorm(embedding(tokens[t])) | hnorm(hidden[t])]))
// in acts, of which `hidden` may not be a part; logits(final_normed) are of the token two after the position's.
// A state is the model's final_normed, after its last norm: what vLLM, SGLang and llama.cpp give the published heads. The
// report says no more than "the representation given by the main model", and writes the two halves of eh_proj's input the
// other way round. final_normed is a state too: that of a guess, from which the same head says one more.
// `cache` is one for with_mtp_layer(config), the batch's sequences are its own, and only its last layer is read and written.
void mtp_forward(const Config& config, const Weights& weights, const MtpWeights& mtp, const TokenBatch& batch, const Tensor& hidden,
                 KvCache& cache, Activations& acts);

}  // namespace ds
