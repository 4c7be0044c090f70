// Small configs of every family that the engines know, with sizes that are no multiples of anything.
#pragma once

#include <array>

namespace syco {

inline constexpr std::array kDecoderConfigs = {
    R"({"model_type": "llama", "vocab_size": 131, "hidden_size": 36, "intermediate_size": 70, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 300,
        "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}})",
    R"({"model_type": "mistral", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 1, "max_position_embeddings": 300, "sliding_window": 9,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}})",
    R"({"model_type": "qwen2", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 300,
        "use_sliding_window": true, "sliding_window": 7, "layer_types": ["full_attention", "sliding_attention"]})",
    R"({"model_type": "qwen3", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 300})",
    R"({"model_type": "gemma", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 18, "max_position_embeddings": 300,
        "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": true})",
    R"({"model_type": "phi3", "vocab_size": 97, "hidden_size": 60, "intermediate_size": 76, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 300, "sliding_window": 33,
        "rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.4}})",
    R"({"model_type": "olmo2", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 300})",
    R"({"model_type": "gpt_neox", "vocab_size": 97, "hidden_size": 48, "intermediate_size": 70, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 300, "hidden_act": "gelu", "use_parallel_residual": true,
        "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}})",
    R"({"model_type": "gpt2", "vocab_size": 97, "n_embd": 48, "n_head": 4, "n_layer": 2, "n_positions": 300,
        "n_inner": 70, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5})",
};

inline constexpr std::array kEncoderDecoderConfigs = {
    R"({"model_type": "t5", "is_encoder_decoder": true, "vocab_size": 131, "d_model": 36, "d_kv": 14, "d_ff": 70,
        "num_layers": 2, "num_decoder_layers": 2, "num_heads": 6, "decoder_start_token_id": 0,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "feed_forward_proj": "relu",
        "layer_norm_epsilon": 1e-6})",
    R"({"model_type": "t5", "is_encoder_decoder": true, "vocab_size": 97, "d_model": 37, "d_kv": 70, "d_ff": 129,
        "num_layers": 1, "num_decoder_layers": 3, "num_heads": 1, "decoder_start_token_id": 5,
        "relative_attention_num_buckets": 10, "relative_attention_max_distance": 37,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false})",
};

}  // namespace syco
