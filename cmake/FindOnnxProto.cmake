# The protobuf classes of ONNX (Debian: libonnx-dev), target OnnxProto::onnx_proto.
# Not the package's own ONNXConfig.cmake: Debian's names a library file that the package does not contain.
find_package(Protobuf QUIET)
find_path(OnnxProto_INCLUDE_DIR onnx/onnx_pb.h)
find_library(OnnxProto_LIBRARY onnx_proto)
mark_as_advanced(OnnxProto_INCLUDE_DIR OnnxProto_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  OnnxProto
  REQUIRED_VARS OnnxProto_LIBRARY OnnxProto_INCLUDE_DIR Protobuf_FOUND
  REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt install libonnx-dev libprotobuf-dev")

if(OnnxProto_FOUND AND NOT TARGET OnnxProto::onnx_proto)
  add_library(OnnxProto::onnx_proto UNKNOWN IMPORTED)
  set_target_properties(
    OnnxProto::onnx_proto
    PROPERTIES IMPORTED_LOCATION "${OnnxProto_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${OnnxProto_INCLUDE_DIR}"
               INTERFACE_COMPILE_DEFINITIONS "ONNX_ML=1;ONNX_NAMESPACE=onnx"
               INTERFACE_LINK_LIBRARIES protobuf::libprotobuf)
endif()
