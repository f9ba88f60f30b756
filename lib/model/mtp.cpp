#include "model/mtp.h"

#include "model/blocks.h"

namespace ds {

Config with_mtp_layer(const Config& config) {
  Config one_more = config;
  ++one_more.num_hidden_layers;
  if (!one_more.layer_types.empty()) one_more.layer_types.push_back(LayerType::full_attention);
  return one_more;
}

void mtp_forward(const Config& config, const Weights& weights, const MtpWeights& mtp, const TokenBatch& batch, const Tensor& hidden,
                 KvCache& cache, Activations& acts) {
  const int64_t tokens = static_cast<int64_t>(batch.tokens.size()), size = config.hidden_size;
  require(hidden.rank == 2 && hidden.rows() == tokens && hidden.cols() == size, "multi-token prediction of ", tokens, " tokens from ",
          describe(hidden));
  acts.arena.reset();
  acts.layers.clear();
  const auto make = [&](int64_t columns) { return acts.arena.make_uninitialized(DType::f32, {tokens, columns}); };
  acts.final_normed = make(size);
  acts.final_input = make(size);
  const Tensor embedded = make(size), joined = make(2 * size), x = make(size);
  embedding(weights.embed_tokens, indices_view(batch.tokens), embedded);
  if (config.embedding_scale != 1) scale(embedded, config.embedding_scale);
  rms_norm(embedded, mtp.embed_norm, config.rms_norm_eps, config.norm_plus_one, columns(joined, 0, size));
  rms_norm(hidden, mtp.hidden_norm, config.rms_norm_eps, config.norm_plus_one, columns(joined, size, size));
  linear(joined, mtp.projection, x);
  run_block(config, mtp.block, config.num_hidden_layers, batch, cache, x, acts.final_input, acts.arena);
  rms_norm(acts.final_input, mtp.final_norm, config.rms_norm_eps, config.norm_plus_one, acts.final_normed);
}

}  // namespace ds
