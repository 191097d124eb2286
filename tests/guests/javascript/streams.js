// Streams and futures both ways, by a toolchain's own bindings.
export async function upper(input) {
    return (async function* () {
        for await (const chunk of input) yield chunk.map((byte) => (byte >= 97 && byte <= 122 ? byte - 32 : byte));
    })();
}

// Read no more than is asked for, and drop the rest.
export async function first(input, count) {
    const found = [];
    for await (const chunk of input) {
        found.push(...chunk);
        if (found.length >= count) break;
    }
    return new Uint8Array(found.slice(0, count));
}

export async function next(value) {
    const { readable } = wit.Future.from(value.read().then((number) => number + 1), wit.Future.U32);
    return readable;
}

export async function fails(input) {
    for await (const chunk of input) throw new Error(`no ${chunk.length} bytes, please`);
}
