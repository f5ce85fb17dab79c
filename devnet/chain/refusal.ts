/** What a node answers a question with that it does not answer. */
export class Refusal extends Error {
  /** As HTTP has it. */
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Refusal";
    this.status = status;
  }
}
