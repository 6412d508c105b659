/** The largest value that a config.json may give; beyond it is damage or an attack, not a model. */
export const CONFIG_LIMITS = {
  layers: 1024,
  hiddenSize: 65_536,
  intermediateSize: 262_144,
  experts: 16_384,
  expertsPerToken: 64,
  headDim: 1024,
  heads: 4096,
  vocabSize: 4_194_304,
  contextTokens: 16_777_216,
  ropeTheta: 1e12,
  ropeFactor: 65_536,
  stopTokens: 64,
} as const;
