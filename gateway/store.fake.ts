import { Failure, type FailureCode } from "../protocol/index.ts";
import type { Store } from "./store.ts";

/** A store in memory that can be told to fail, and waits to be told when to commit. */
export interface FakeStore extends Store {
  readonly rows: Uint8Array[];
  /** How many appends were tried. */
  readonly appends: number;
  /** Undefined: writes work. */
  failWith(code: FailureCode | undefined): void;
  /** From now on appends wait for {@link commit}. */
  hold(): void;
  commit(): void;
}

export function fakeStore(rows: Uint8Array[] = []): FakeStore {
  let failure: FailureCode | undefined;
  let isHeld = false;
  let appends = 0;
  let release: () => void = () => undefined;
  return {
    rows,
    get appends() {
      return appends;
    },
    failWith(code) {
      failure = code;
    },
    hold() {
      isHeld = true;
    },
    commit() {
      isHeld = false;
      release();
    },
    async load(row) {
      for (const bytes of rows) row(bytes);
    },
    async append(added) {
      appends++;
      if (isHeld) {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
      if (failure !== undefined) throw new Failure(failure);
      rows.push(...added);
    },
    async close() {
      release();
    },
  };
}
