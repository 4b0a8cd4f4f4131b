package dev.limasandbox;

import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;

/** The scripts as picocli knows them: verbs, options, help. They are made to be looked at, not to run. */
class Specs implements CommandLine.IFactory {
    private Specs() {}

    static CommandSpec of(Path script) {
        String type = "dev.limasandbox." + ScriptHeaderTest.className(script.getFileName().toString());
        try {
            return new CommandLine(Class.forName(type), new Specs()).getCommandSpec();
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A script's verbs, by name. */
    static Map<String, CommandSpec> verbs(CommandSpec spec) {
        Map<String, CommandSpec> verbs = new LinkedHashMap<>();
        spec.subcommands().forEach((verb, line) -> verbs.put(verb, line.getCommandSpec()));
        return verbs;
    }

    @Override
    public <K> K create(Class<K> type) throws ReflectiveOperationException {
        Constructor<?> constructor = type.getDeclaredConstructors()[0];
        constructor.setAccessible(true);
        return type.cast(constructor.newInstance(
                Arrays.stream(constructor.getParameterTypes()).map(Specs::given).toArray()));
    }

    /** What a constructor wants: the surroundings of this process, no words, else nothing. */
    private static Object given(Class<?> type) {
        for (Method method : type.getDeclaredMethods()) {
            if (method.getName().equals("ofThisProcess")) {
                method.setAccessible(true);
                try {
                    return method.invoke(null, method.getParameterCount() == 0 ? new Object[0] : new Object[]{"x"});
                } catch (IllegalAccessException | InvocationTargetException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        return type == List.class ? List.of() : null;
    }
}
