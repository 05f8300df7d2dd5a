// Measures C threads that call into Java, through an upcall stub (java.lang.foreign).
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Path;

public final class Peer {
    static void call() {}

    public static void main(String[] args) throws Throwable {
        var linker = Linker.nativeLinker();
        var arena = Arena.global();
        var call = MethodHandles.lookup()
            .findStatic(Peer.class, "call", MethodType.methodType(void.class));
        var stub = linker.upcallStub(call, FunctionDescriptor.ofVoid(), arena);
        var library = SymbolLookup.libraryLookup(Path.of(args[0]), arena);
        var measure = linker.downcallHandle(
            library.find("measure").orElseThrow(),
            FunctionDescriptor.ofVoid(ValueLayout.ADDRESS, ValueLayout.ADDRESS));
        measure.invoke(stub, MemorySegment.NULL);
    }
}
