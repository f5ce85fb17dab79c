/** What a benchmark found: numbers with their unit in the name, lists and groups of them; null is "not measured". */
export interface Figures {
  readonly [name: string]: Figure;
}
export type Figure = number | string | boolean | null | Figures | readonly Figure[];

/** One benchmark, in a file of its own. */
export interface Benchmark {
  /** One line, for the list that a missing name prints. */
  readonly purpose: string;
  /** Its own flags, for `parseArgs`; `--json` is already taken away. Progress goes to standard error. */
  readonly run: (args: readonly string[]) => Promise<Figures>;
}
