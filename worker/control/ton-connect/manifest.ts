import manifest from "../../../build/tonconnect-manifest.json" with { type: "json" };

/** What wallet apps are told of who asks. */
export interface AppManifest {
  /** Where they read the rest: a public GET without any wall. */
  readonly manifestUrl: string;
  /** The host that a proof of address is made for; gateways know it. */
  readonly domain: string;
}

/** That of this build. A release hosts the file it is made of; see the README. */
export const APP_MANIFEST: AppManifest = {
  manifestUrl: `${manifest.url}/tonconnect-manifest.json`,
  domain: new URL(manifest.url).host,
};
