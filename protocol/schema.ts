import { config } from "zod";

// Zod compiles schemas with `new Function` where it may, and asks by trying: a page that forbids code from strings would
// report a violation at every start. Reading without costs a microsecond or two a message. Set before the first schema.
config({ jitless: true });

export * as z from "zod";
