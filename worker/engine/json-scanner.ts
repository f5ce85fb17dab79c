/** Finds where one JSON value ends in a text that arrives in pieces. It judges nothing else about it. */
export class JsonScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #hasBegun = false;
  #isComplete = false;

  get isEmpty(): boolean {
    return !this.#hasBegun;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** How many of these characters belong to the value. */
  push(text: string): number {
    let at = 0;
    while (at < text.length && !this.#isComplete) {
      // A bare number or word ends before what cannot be a part of it.
      if (this.#isBareEnd(text.charAt(at))) {
        this.#isComplete = true;
        return at;
      }
      this.#read(text.charAt(at));
      at++;
    }
    return at;
  }

  #isBareEnd(character: string): boolean {
    return this.#hasBegun && this.#depth === 0 && !this.#inString && !/[\w+.-]/u.test(character);
  }

  #read(character: string): void {
    if (this.#inString) {
      this.#readInString(character);
      return;
    }
    if (/\s/u.test(character)) return;
    this.#hasBegun = true;
    if (character === '"') this.#inString = true;
    else if (character === "{" || character === "[") this.#depth++;
    else if (character === "}" || character === "]") {
      this.#depth--;
      this.#isComplete = this.#depth <= 0;
    }
  }

  #readInString(character: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (character === "\\") this.#escaped = true;
    else if (character === '"') {
      this.#inString = false;
      this.#isComplete = this.#depth === 0;
    }
  }
}
