/** The part of `fetch` that TON Connect's SDK uses. */
export type Fetch = (url: string | URL | Request, init?: RequestInit) => Promise<Response>;

export interface BridgeFetchOptions {
  /** URLs of bridges; nothing else is reached. */
  readonly bridges: readonly string[];
  readonly fetch: Fetch;
  /** With the origin alone: a path may hold what is nobody's business. */
  onRefused(origin: string): void;
  onReachable(isReachable: boolean): void;
}

const POST_TIMEOUT_MS = 15_000;

/**
 * All that leaves the machine for a wallet: to a known bridge and nowhere else, redirects included. A message that hangs
 * is given up after 15 s, so that it is sent again.
 */
export function createBridgeFetch({ bridges, fetch, onRefused, onReachable }: BridgeFetchOptions): Fetch {
  const bases = bridges.map((bridge) => `${bridge.replace(/\/$/, "")}/`);
  const guarded: Fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (url.startsWith("data:")) return fetch(url);
    if (!bases.some((base) => url.startsWith(base))) {
      onRefused(originOf(url));
      throw new TypeError("not a known bridge");
    }
    return fetch(url, { ...init, redirect: "error" });
  };
  return async (input, init = {}) => {
    if (init.method === undefined) return guarded(input, init);
    const signals = [AbortSignal.timeout(POST_TIMEOUT_MS), ...(init.signal ? [init.signal] : [])];
    try {
      const response = await guarded(input, { ...init, signal: AbortSignal.any(signals) });
      onReachable(response.ok);
      return response;
    } catch (error) {
      if (init.signal?.aborted !== true) onReachable(false);
      throw error;
    }
  };
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "";
}
