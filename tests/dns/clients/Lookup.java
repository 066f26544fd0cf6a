import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.Hashtable;
import java.util.stream.Collectors;
import javax.naming.Context;
import javax.naming.NamingEnumeration;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/** Prints what a Java virtual machine finds: addresses by InetAddress, and SRV records by JNDI for names with `_`. */
public class Lookup {
    public static void main(String[] names) throws Exception {
        for (String name : names) {
            System.out.println(name + " " + (name.startsWith("_") ? services(name) : addresses(name)));
        }
    }

    private static String addresses(String name) {
        try {
            return Arrays.stream(InetAddress.getAllByName(name))
                .map(InetAddress::getHostAddress).sorted().collect(Collectors.joining(" "));
        } catch (UnknownHostException absent) {
            return "unknown";
        }
    }

    private static String services(String name) throws Exception {
        Hashtable<String, String> settings = new Hashtable<>();
        settings.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
        settings.put(Context.PROVIDER_URL, "dns://127.0.0.1");
        Attribute found = new InitialDirContext(settings).getAttributes(name, new String[] {"SRV"}).get("SRV");
        NamingEnumeration<?> values = found.getAll();
        String[] lines = new String[found.size()];
        for (int at = 0; values.hasMore(); at++) {
            lines[at] = values.next().toString();
        }
        Arrays.sort(lines);
        return String.join(" | ", lines);
    }
}
