"""The trained network in torch: every expert computed, gates outside the top-k set to zero.

Masking is exact (a token's sum over experts has the same terms as a sparse evaluation) and, for
the bundled sizes, faster than gathering tokens: the experts of a layer side by side are one
feed-forward block of ``experts x expert_width`` units. A wider model has grouped products
(`cimsim.zoo.grouped`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cimsim.zoo.grouped import grouped_experts
from cimsim.zoo.specs import VOCABULARY, ModelSpec


def apply(layer: nn.Linear, x: Tensor) -> Tensor:
    """Product of a layer and its input (torch declares calls of modules without a type)."""
    return functional.linear(x, layer.weight, layer.bias)


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * weight, in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Norm of the last axis."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * self.weight).to(x.dtype)


def rotary(spec: ModelSpec, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position embedding, [length, head_dim] each."""
    half = torch.arange(0, spec.head_dim, 2, device=device, dtype=torch.float32) / spec.head_dim
    angle = torch.outer(
        torch.arange(length, device=device, dtype=torch.float32), spec.rope_theta**-half
    )
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of each head, x [batch, heads, length, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.q = nn.Linear(spec.width, spec.width, bias=spec.qkv_bias)
        self.k = nn.Linear(spec.width, spec.width, bias=spec.qkv_bias)
        self.v = nn.Linear(spec.width, spec.width, bias=spec.qkv_bias)
        self.o = nn.Linear(spec.width, spec.width, bias=False)
        self.q_norm: RMSNorm | nn.Identity = nn.Identity()
        self.k_norm: RMSNorm | nn.Identity = nn.Identity()
        if spec.qk_norm:
            self.q_norm = RMSNorm(spec.width, spec.norm_eps)
            self.k_norm = RMSNorm(spec.width, spec.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attention over x [batch, length, width]."""
        batch, length, width = x.shape
        shape = (batch, length, self.spec.heads, self.spec.head_dim)
        q = rotate(self.q_norm(self.q(x)).view(shape).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k(x)).view(shape).transpose(1, 2), cos, sin)
        v = self.v(x).view(shape).transpose(1, 2)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return apply(self.o, y.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block over the last axis."""
        return apply(self.down, functional.silu(self.gate(x)) * self.up(x))


class ExpertBlock(nn.Module):
    """Routed experts (softmax, top-k, no renormalisation) and optional shared experts."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.router = nn.Linear(spec.width, spec.experts, bias=False)
        shape = (spec.experts, spec.expert_width, spec.width)
        self.gate = nn.Parameter(torch.empty(shape))
        self.up = nn.Parameter(torch.empty(shape))
        self.down = nn.Parameter(torch.empty(shape))  # transposed: row u is unit u's output
        self.shared = FeedForward(spec.width, spec.shared_width) if spec.shared_width else None
        self.shared_gate = nn.Linear(spec.width, 1, bias=False) if spec.shared_gate else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the output, load-balance loss, z loss and tokens per expert [experts]."""
        spec = self.spec
        flat = x.reshape(-1, spec.width)
        with torch.autocast(x.device.type, enabled=False):
            logits = functional.linear(flat.float(), self.router.weight)
        share = logits.softmax(-1)
        if spec.grouped:
            return self._grouped(x, logits, share)
        threshold = share.topk(spec.top_k, dim=-1, sorted=True).values[:, -1:]
        chosen = share >= threshold
        load = chosen.float().mean(0)
        balance = spec.experts * (load * share.mean(0)).sum()
        z_loss = logits.logsumexp(-1).pow(2).mean()
        gates = torch.where(chosen, share, 0.0).to(x.dtype)
        hidden = functional.silu(functional.linear(flat, self.gate.view(-1, spec.width)))
        hidden = hidden * functional.linear(flat, self.up.view(-1, spec.width))
        hidden = hidden.view(-1, spec.experts, spec.expert_width) * gates[:, :, None]
        y = hidden.view(flat.shape[0], -1) @ self.down.view(-1, spec.width)
        if self.shared is not None:
            extra = self.shared(flat)
            if self.shared_gate is not None:
                extra = extra * self.shared_gate(flat).sigmoid()
            y = y + extra
        return y.view(x.shape), balance, z_loss, load

    def _grouped(
        self, x: Tensor, logits: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the same by products of sorted rows."""
        gates, chosen = share.topk(self.spec.top_k, dim=-1)
        low = torch.is_autocast_enabled(x.device.type)
        flat = x.reshape(-1, x.shape[-1]).to(torch.bfloat16 if low else x.dtype)
        y, count = grouped_experts(flat, gates, chosen, (self.gate, self.up, self.down))
        load = count / len(flat)
        balance = self.spec.experts * (load * share.mean(0)).sum()
        return y.view(x.shape), balance, logits.logsumexp(-1).pow(2).mean(), load


class DecoderLayer(nn.Module):
    """One decoder layer: attention, then a dense block or experts, each on a residual path."""

    def __init__(self, spec: ModelSpec, index: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(spec.width, spec.norm_eps)
        self.block_norm = RMSNorm(spec.width, spec.norm_eps)
        self.attention = Attention(spec)
        is_dense = index < spec.dense_layers
        self.block: FeedForward | ExpertBlock = (
            FeedForward(spec.width, spec.dense_width) if is_dense else ExpertBlock(spec)
        )

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, dropout: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
        """Return the residual stream, and the routing's balance loss, z loss and load."""
        y = self.attention(self.attention_norm(x), cos, sin)
        x = x + functional.dropout(y, dropout, self.training)
        routing = None
        if isinstance(self.block, FeedForward):
            y = self.block(self.block_norm(x))
        else:
            y, *routing = self.block(self.block_norm(x))
        x = x + functional.dropout(y, dropout, self.training)
        return x, None if routing is None else (routing[0], routing[1], routing[2])


class DecoderNetwork(nn.Module):
    """The whole decoder; embeddings and output head share one matrix."""

    def __init__(self, spec: ModelSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = dropout
        self.embed = nn.Embedding(VOCABULARY, spec.width)
        self.decoder: list[DecoderLayer] = [DecoderLayer(spec, i) for i in range(spec.layers)]
        self.layers = nn.ModuleList(self.decoder)  # registers their weights
        self.norm = RMSNorm(spec.width, spec.norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Next-token losses of windows of tokens.

        Args:
            tokens: int64 [batch, length].

        Returns:
            Cross entropy [batch, length - 1] in nats, mean load-balance loss, mean z loss,
            and the share of tokens each expert saw [expert layers, experts].
        """
        cos, sin = rotary(self.spec, tokens.shape[1], tokens.device)
        x = self.embed(tokens)
        if torch.is_autocast_enabled(tokens.device.type) and not self.spec.grouped:
            x = x.bfloat16()
        balances: list[Tensor] = []
        z_losses: list[Tensor] = []
        loads: list[Tensor] = []
        for layer in self.decoder:
            x, routing = layer(x, cos, sin, self.dropout)
            if routing is not None:
                for kept, value in zip((balances, z_losses, loads), routing, strict=True):
                    kept.append(value)
        logits = functional.linear(self.norm(x)[:, :-1], self.embed.weight)
        loss = functional.cross_entropy(
            logits.reshape(-1, VOCABULARY).float(), tokens[:, 1:].reshape(-1), reduction="none"
        )
        return (
            loss.view(tokens.shape[0], -1),
            torch.stack(balances).mean(),
            torch.stack(z_losses).mean(),
            torch.stack(loads),
        )


def hf_tensors(network: DecoderNetwork) -> dict[str, Tensor]:
    """The weights under the names of the family's public checkpoints."""
    spec = network.spec
    tensors = {
        "model.embed_tokens.weight": network.embed.weight,
        "model.norm.weight": network.norm.weight,
    }
    for index, layer in enumerate(network.decoder):
        base = f"model.layers.{index}"
        tensors[f"{base}.input_layernorm.weight"] = layer.attention_norm.weight
        tensors[f"{base}.post_attention_layernorm.weight"] = layer.block_norm.weight
        for role in "qkvo":
            projection = getattr(layer.attention, role)
            tensors[f"{base}.self_attn.{role}_proj.weight"] = projection.weight
            if projection.bias is not None:
                tensors[f"{base}.self_attn.{role}_proj.bias"] = projection.bias
        for role, norm in (("q", layer.attention.q_norm), ("k", layer.attention.k_norm)):
            if isinstance(norm, RMSNorm):
                tensors[f"{base}.self_attn.{role}_norm.weight"] = norm.weight
        tensors |= _block_tensors(spec, f"{base}.mlp", layer.block)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _block_tensors(
    spec: ModelSpec, base: str, block: FeedForward | ExpertBlock
) -> dict[str, Tensor]:
    if isinstance(block, FeedForward):
        return {f"{base}.{r}_proj.weight": getattr(block, r).weight for r in ("gate", "up", "down")}
    tensors = {f"{base}.gate.weight": block.router.weight}
    for expert in range(spec.experts):
        tensors[f"{base}.experts.{expert}.gate_proj.weight"] = block.gate[expert]
        tensors[f"{base}.experts.{expert}.up_proj.weight"] = block.up[expert]
        tensors[f"{base}.experts.{expert}.down_proj.weight"] = block.down[expert].T
    if block.shared is not None:
        name = "shared_expert" if spec.model_type == "qwen2_moe" else "shared_experts"
        for role in ("gate", "up", "down"):
            tensors[f"{base}.{name}.{role}_proj.weight"] = getattr(block.shared, role).weight
    if block.shared_gate is not None:
        tensors[f"{base}.shared_expert_gate.weight"] = block.shared_gate.weight
    return tensors
