/** The value below which a share (0 to 1) of the sample lies, between neighbours in proportion. NaN for no sample. */
export function percentile(sample: readonly number[], share: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)] ?? NaN;
  const above = sorted[Math.ceil(at)] ?? NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export function median(sample: readonly number[]): number {
  return percentile(sample, 0.5);
}

/** For ratios: the one factor that has the same effect as all of them. */
export function geometricMean(ratios: readonly number[]): number {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
}

/** Three significant digits: more would claim a precision that no machine repeats. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
