// Measures C threads that call into Java: through an upcall stub (java.lang.foreign), and by JNI.
// Found by name, the package needs no compiler that knows it: Java's runtime has it since 22.
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

public final class Peer {
    static void call() {}

    // jvm/jni.c
    static native void measureByJni();

    private static Class<?> foreign(String name) throws ClassNotFoundException {
        return Class.forName("java.lang.foreign." + name);
    }

    private static Object invoke(Class<?> owner, Object object, String name, Object... args) throws Exception {
        for (var method : owner.getMethods())
            if (method.getName().equals(name) && fits(method.getParameterTypes(), args))
                return method.invoke(object, args);
        throw new NoSuchMethodException(name);
    }

    private static boolean fits(Class<?>[] types, Object[] args) {
        if (types.length != args.length) return false;
        for (int i = 0; i < args.length; i++)
            if (!types[i].isInstance(args[i])) return false;
        return true;
    }

    private static Object array(Class<?> of, Object... values) {
        var made = (Object[]) java.lang.reflect.Array.newInstance(of, values.length);
        return Arrays.asList(values).toArray(made);
    }

    public static void main(String[] args) throws Throwable {
        if (args[1].equals("jni")) {
            System.load(args[0]);
            measureByJni();
            return;
        }
        var linkers = foreign("Linker");
        var layouts = foreign("MemoryLayout");
        var descriptors = foreign("FunctionDescriptor");
        var options = array(foreign("Linker$Option"));
        var address = foreign("ValueLayout").getField("ADDRESS").get(null);
        var none = invoke(descriptors, null, "ofVoid", array(layouts));
        var two = invoke(descriptors, null, "ofVoid", array(layouts, address, address));
        var linker = invoke(linkers, null, "nativeLinker");
        var arena = invoke(foreign("Arena"), null, "global");
        var call = MethodHandles.lookup().findStatic(Peer.class, "call", MethodType.methodType(void.class));
        var stub = invoke(linkers, linker, "upcallStub", call, none, arena, options);
        var lookup = invoke(foreign("SymbolLookup"), null, "libraryLookup", Path.of(args[0]), arena);
        var found = (Optional<?>) invoke(foreign("SymbolLookup"), lookup, "find", "measure");
        var measure = (MethodHandle) invoke(linkers, linker, "downcallHandle", found.orElseThrow(), two, options);
        measure.invoke(stub, foreign("MemorySegment").getField("NULL").get(null));
    }
}
